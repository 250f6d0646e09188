from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from captum_video._core.skeletons import KINECT_JOINTS, split_joints
from models.data.actions import (
    ACTIONS,
    CAMERAS,
    FINE_GRAINED,
    FRAMES,
    GROUPS,
    TWO_PERSON,
    Actions,
    ActionSample,
    informative_joints,
)

DATA = Actions(400, seed=3)


def indices(action: str, count: int) -> list[int]:
    """The first clips of an action."""
    wanted = (ACTIONS.index(action),)
    found = [i for i in range(len(DATA)) if DATA.labels(i) == wanted][:count]
    assert len(found) == count
    return found


def equal(a: ActionSample, b: ActionSample) -> bool:
    same = (a.action, a.camera, a.subject) == (b.action, b.camera, b.subject)
    pairs = ((a.clip, b.clip), (a.informative, b.informative), (a.active, b.active))
    return same and all(torch.equal(one, other) for one, other in pairs)


def test_a_sample_is_a_tuple_of_the_stated_shapes_and_collates() -> None:
    sample = DATA[0]
    assert sample.clip.shape == (150, FRAMES) == (150, 96)
    assert sample.clip.dtype == torch.float32
    assert sample.clip.is_contiguous()
    assert sample.informative.shape == (2, 25)
    assert sample.informative.dtype == torch.bool
    assert sample.active.shape == (96,)
    assert sample.active.dtype == torch.bool
    assert all(type(sample[place]) is int for place in (1, 2, 3))
    batch = next(iter(DataLoader(DATA, batch_size=3)))
    assert torch.equal(batch.clip[2], DATA[2].clip)
    assert batch.action.tolist() == [DATA[i].action for i in range(3)]


def test_names_and_groups() -> None:
    assert len(set(ACTIONS)) == 16
    assert set(FINE_GRAINED) | set(TWO_PERSON) < set(ACTIONS)
    assert {"action": range(16)} == GROUPS == Actions.groups
    assert Actions.classes == ACTIONS


def test_a_sample_depends_on_its_arguments_alone() -> None:
    first = Actions(9, seed=3)[7]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state()
    other = Actions(1000, seed=3)
    other[4]
    assert equal(other[7], first)
    assert equal(pickle.loads(pickle.dumps(other))[7], first)
    assert torch.equal(torch.get_rng_state(), state)
    for data in (Actions(9, 4), Actions(9, 3, "validation")):
        assert not torch.equal(data[7].clip, first.clip)
    assert not torch.equal(other[6].clip, first.clip)


def test_labels_are_those_of_the_clips_and_uniform() -> None:
    assert all(DATA.labels(i) == (DATA[i].action,) for i in range(20))
    data = Actions(9600, seed=2)
    table = np.zeros((len(ACTIONS), len(CAMERAS)))
    for index in range(len(data)):
        table[data._begin(index)[1:]] += 1
    # 47 degrees of freedom: the statistic exceeds 92 once in ten thousand
    assert ((table - 200) ** 2 / 200).sum() < 92


def test_the_splits_share_nobody() -> None:
    people, guests = Actions(200, seed=1), Actions(200, 1, "validation")
    # nor what they do: clips of the same index are unlike in everything
    assert [people.labels(i) for i in range(20)] != [guests.labels(i) for i in range(20)]
    train = {people[i].subject for i in range(200)}
    validation = {guests[i].subject for i in range(200)}
    assert not train & validation
    # 200 draws miss 6.6 of 80 people in the mean, and 0.25 of 40
    assert 65 <= len(train) <= 80
    assert 37 <= len(validation) <= 40


def test_the_second_actor_is_zero_where_there_is_none() -> None:
    both = 0
    for index in range(80):
        sample = DATA[index]
        second = split_joints(sample.clip)[1]
        if ACTIONS[sample.action] in TWO_PERSON:
            both += 1
            assert (second[:, 2] > 1).all()
        else:
            assert not second.any()
            assert not sample.informative[1].any()
        assert (split_joints(sample.clip)[0][:, 2] > 1).all()
    assert 5 < both < 40


def test_roles_and_hands_are_drawn() -> None:
    data = Actions(1500, seed=8)
    punches = [data[i] for i in range(1500) if data.labels(i) == (ACTIONS.index("punching"),)]
    first = np.mean([sample.informative[0].sum().item() == 5 for sample in punches])
    tip = KINECT_JOINTS.index("hand_tip_right")
    right = np.mean([sample.informative[:, tip].all().item() for sample in punches])
    margin = 4.5 * 0.5 / np.sqrt(len(punches))
    assert abs(first - 0.5) < margin
    assert abs(right - 0.5) < margin + 0.1  # left-handers are not exactly half of 80 people


def test_clips_of_another_length() -> None:
    sample = Actions(9, seed=3, frames=40)[7]
    assert sample.clip.shape == (150, 40)
    assert sample.active.shape == (40,)


def test_informative_joints_by_name() -> None:
    thumb = informative_joints("playing with phone")
    assert thumb.nonzero().tolist() == [[0, 24]]
    assert informative_joints("playing with phone", "left").nonzero().tolist() == [[0, 22]]
    assert informative_joints("nod head").nonzero().tolist() == [[0, 3]]
    kick = informative_joints("kicking something", "left")
    assert kick.nonzero().tolist() == [[0, 13], [0, 14], [0, 15]]
    shake = informative_joints("hand shaking", "right")
    assert shake[0].nonzero().flatten().tolist() == [9, 10, 11, 23, 24]
    assert torch.equal(shake[0], shake[1])
    assert informative_joints("walking towards each other").all()


def test_errors_name_what_was_expected() -> None:
    for method in (DATA.__getitem__, DATA.labels, DATA.views, DATA.clean):
        with pytest.raises(IndexError, match="index must be from 0 to 399, got -1"):
            method(-1)
        with pytest.raises(IndexError, match="got 400"):
            method(400)
    with pytest.raises(ValueError, match="frames must be at least 32, got 31"):
        Actions(3, frames=31)
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', got 'test'"):
        Actions(3, split="test")
    with pytest.raises(ValueError, match="length must not be negative, got -1"):
        Actions(-1)
    with pytest.raises(ValueError, match="camera must be from 0 to 2 or None, got 3"):
        DATA.clean(0, camera=3)
    with pytest.raises(ValueError, match=r"action must be one of 'jump up'.*got 'dancing'"):
        informative_joints("dancing")
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'both'"):
        informative_joints("throw", "both")
