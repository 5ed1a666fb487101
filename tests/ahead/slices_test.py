import pytest

from prm_jax.ahead.slices import parse_slice
from prm_jax.errors import UserError


# As Google's pages on v5p, v5e, v6e and v4 list them.
@pytest.mark.parametrize(
    ("ordered", "shape", "chips"),
    [
        ("v5p-8", "v5p:2x2x1", 4),
        ("v5p-16", "v5p:2x2x2", 8),
        ("v5p-32", "v5p:2x2x4", 16),
        ("v5p-64", "v5p:2x4x4", 32),
        ("v5p-128", "v5p:4x4x4", 64),
        ("v5p-512", "v5p:4x8x8", 256),
        ("v5p-1024", "v5p:8x8x8", 512),
        ("v4-32", "v4:2x2x4", 16),
        ("v5e-1", "v5e:1x1", 1),
        ("v5e-8", "v5e:2x4", 8),
        ("v5litepod-16", "v5e:4x4", 16),
        ("v6e-64", "v6e:8x8", 64),
        ("v6e-256", "v6e:16x16", 256),
    ],
)
def test_both_spellings_are_one_slice(ordered, shape, chips):
    wanted = parse_slice(ordered)
    assert wanted == parse_slice(shape)
    assert wanted.name == shape and wanted.chips == chips
    assert parse_slice(wanted.paid_name) == wanted


@pytest.mark.parametrize("name", ["v5p", "v5e:", "v5p:2x4", "v5e:2x2x2", "v9-8", "v5p-7", "v5p-4", "v5e-12", "v5e:0x4"])
def test_refuses_what_is_no_slice(name):
    with pytest.raises(UserError, match="slice"):
        parse_slice(name)
