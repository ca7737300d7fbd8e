from torch import nn

from semrepa.models.freeze import freeze


def test_frozen_network_has_no_trainable_parameter_and_is_in_evaluation_mode():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    assert freeze(network) is network
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
