import jax
import pytest
from jax.sharding import AxisType

from prm_jax.errors import UserError
from prm_jax.parallel.mesh import MeshConfig, make_mesh


def test_minus_one_takes_what_is_left():
    mesh = make_mesh(MeshConfig(data=2, fsdp=-1, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert set(mesh.axis_types) == {AxisType.Auto}


def test_a_mesh_over_some_devices():
    assert make_mesh(MeshConfig(), devices=jax.devices()[:1]).size == 1


@pytest.mark.parametrize("sizes", [{"data": 3, "fsdp": -1}, {"data": 2}, {"data": 16}])
def test_refuses_sizes_that_do_not_make_up_the_devices(sizes):
    with pytest.raises(UserError):
        make_mesh(MeshConfig(**sizes))


@pytest.mark.parametrize("sizes", [{"data": -1, "fsdp": -1}, {"tensor": 0}, {"fsdp": -2}])
def test_refuses_impossible_sizes(sizes):
    with pytest.raises(UserError):
        MeshConfig(**sizes)
