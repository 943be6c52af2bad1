"""How each documented API takes credentials, chosen by the proto package of the RPC that a route leads to."""

from __future__ import annotations

from runner_service.rpc.forms.kubeagents import KubeAgentsForm
from runner_service.rpc.forms.rustci import RustCiForm
from runner_service.rpc.forms.sentinelstacks import SentinelForm
from runner_service.rpc.forms.testflinger import TestflingerForm, current_credential

__all__ = ["KubeAgentsForm", "RustCiForm", "SentinelForm", "TestflingerForm", "current_credential"]
