import jax
import pytest
from jax.sharding import AxisType

from prm_jax.errors import UserError
from prm_jax.parallel.distributed import initialize_distributed, is_multihost
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


def test_one_process_joins_nothing():
    initialize_distributed()
    assert jax.process_count() == 1 and not jax.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "1", "TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"SLURM_NTASKS": "4"}, True),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234"}, True),
    ],
)
def test_knows_several_hosts_from_the_environment(environment, expected):
    assert is_multihost(environment) is expected
