"""Near-duplicates are found through what photographers and editors do, and different photographs are told apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from basicsr.engine.image_io import read_image
from plugins.color_fidelity.color_sets_duplicates import Match, find_matches, fingerprint, group
from plugins.color_fidelity.demo_photos import fit, packaged_photos
from plugins.sample_photos import sample_photos
from tests.plugins.color_fidelity.color_sets_kit import NEUTRAL, TEAL, room


def window(photo: np.ndarray, down: float = 0.0, right: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    """The middle 80 % of a photo, moved by shares of its sides."""
    height, width = photo.shape[:2]
    top, left = int(height * (0.1 + down)), int(width * (0.1 + right))
    return photo[top : top + int(0.8 * height / zoom), left : left + int(0.8 * width / zoom)]


def toned(photo: np.ndarray, gamma: float, gain: float) -> np.ndarray:
    return np.clip(255 * gain * (photo / 255.0) ** gamma, 0, 255).astype(np.uint8)


def jpeg(photo: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", np.ascontiguousarray(photo), [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)


CHANGES = {
    "smaller": lambda p: cv2.resize(window(p), (90, 70), interpolation=cv2.INTER_AREA),
    "darker": lambda p: toned(window(p), 1.8, 0.7),
    "brighter": lambda p: toned(window(p), 0.6, 1.1),
    "other white balance": lambda p: (window(p) * np.array([1.0, 0.85, 0.6])).astype(np.uint8),
    "compressed": lambda p: jpeg(window(p)),
    "mirrored": lambda p: window(p)[:, ::-1],
    "upside down": lambda p: window(p)[::-1],
    "next of a burst": lambda p: window(p, 0.02, -0.03),
    "next spot": lambda p: window(p, 0.05, 0.06),
    "a little nearer": lambda p: window(p, 0.02, 0.02, 1.04),
    "mirrored and darker": lambda p: toned(window(p), 1.5, 0.8)[:, ::-1],
}


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Whole photographs that installed packages carry."""
    return [fit(read_image(photo.path), 256) for photo in sample_photos()]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(photos: list[np.ndarray], change: str) -> None:
    before = [fingerprint(window(photo)) for photo in photos]
    after = [fingerprint(CHANGES[change](photo)) for photo in photos]
    found = {(match.first, match.second) for match in find_matches(before, after)}
    right = {(k, k) for k in range(len(photos))}
    assert len(found & right) >= len(photos) - 1
    assert not found - right


def test_different_photographs_are_no_duplicates(photos: list[np.ndarray]) -> None:
    assert find_matches([fingerprint(photo) for photo in photos]) == []


def test_neighbouring_parts_of_a_photograph_are_no_duplicates() -> None:
    # The quarters of the retina, a disc, are mirror images of each other to anyone.
    parts = [photo.pixels for photo in packaged_photos(256) if not photo.source.endswith("retina.jpg")]
    assert find_matches([fingerprint(part) for part in parts]) == []


def test_rooms_of_one_paint_are_no_duplicates() -> None:
    prints = [fingerprint(room(seed, TEAL)) for seed in range(30)]
    assert find_matches(prints) == []


def test_the_same_room_in_another_paint_is_a_duplicate() -> None:
    found = find_matches([fingerprint(room(1, TEAL)), fingerprint(room(1, (210, 190, 170)))])
    assert [(match.first, match.second) for match in found] == [(0, 1)]


def wall(color: tuple[int, int, int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, (120, 160, 1))
    return np.clip(np.array(color) + noise + np.linspace(-10, 10, 160)[None, :, None], 0, 255).astype(np.uint8)


def test_plain_walls_of_different_paint_are_not_merged() -> None:
    colors = [(200, 190, 170), (180, 200, 180), (170, 185, 205), (120, 60, 50)]
    assert find_matches([fingerprint(wall(color, k)) for k, color in enumerate(colors)]) == []


def test_the_same_plain_wall_twice_is_a_duplicate() -> None:
    found = find_matches([fingerprint(wall((200, 190, 170), 1)), fingerprint(wall((200, 190, 170), 2))])
    assert len(found) == 1


def test_walls_with_a_skirting_board_are_not_merged() -> None:
    walls = [wall((200, 190, 170), 1), wall((150, 120, 100), 2), wall((90, 120, 130), 3)]
    for picture in walls:
        picture[96:102] = 245
    assert find_matches([fingerprint(picture) for picture in walls]) == []


def test_groups_join_what_is_linked_through_others() -> None:
    assert group(6, [Match(0, 2, 1, 0.9), Match(2, 5, 1, 0.9), Match(3, 4, 1, 0.9)]) == [0, 1, 0, 3, 3, 0]


def test_no_pictures_have_no_matches() -> None:
    assert find_matches([]) == []
    assert find_matches([fingerprint(room(0, NEUTRAL))], []) == []
