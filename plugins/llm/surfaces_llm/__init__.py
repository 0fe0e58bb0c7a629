"""Direct conversation with language models for Surfaces."""

from surfaces_llm.settings import LlmOptions, LlmSettings, ModelSettings
from surfaces_llm.transport import Llm

__all__ = ["Llm", "LlmOptions", "LlmSettings", "ModelSettings"]
