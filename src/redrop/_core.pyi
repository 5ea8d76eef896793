"""The native kernels (csrc/core.cpp). Nothing is checked there; redrop.kernels.cpu checks."""

def isa() -> list[str]:
    """Return the instruction sets this machine can run, best first."""

def dropout(
    in_ptr: int,
    out_ptr: int,
    storage: int,
    shape: tuple[int, ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Drop out a contiguous tensor that is the whole itself."""

def dropout_part(
    in_ptr: int,
    out_ptr: int,
    storage: int,
    dims: tuple[tuple[int, int, int, int, int, bool], ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Drop out any tensor; a dimension is (size, in_stride, out_stride, global, offset, shared)."""

def dropout_add(
    in_ptr: int,
    residual_ptr: int,
    out_ptr: int,
    in_storage: int,
    storage: int,
    shape: tuple[int, ...],
    dims: tuple[tuple[int, int, int, int, int, bool], ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Write residual + dropout(in), or with residual_ptr 0 dropout(in) in half precision."""

def gelu(
    in_ptr: int,
    bias_ptr: int,
    grad_out_ptr: int,
    out_ptr: int,
    grad_bias_ptr: int,
    is_tanh: bool,
    storage: int,
    shape: tuple[int, ...],
    dims: tuple[tuple[int, int, int, int, int, bool], ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Write dropout(gelu(in + bias)), or with grad_out_ptr the gradients; 0 is no tensor."""

def random_bits(
    out_ptr: int,
    dims: tuple[tuple[int, int, int, int, int, bool], ...],
    key: int,
    threads: int,
    isa: str = "",
) -> None:
    """Write the 32 random bits of each element into a contiguous int64 tensor."""

def prefer_huge_pages(start: int, size: int) -> None:
    """Ask for huge pages behind a stretch of memory that is about to be written."""

def attention_isa() -> list[str]:
    """Return the instruction sets with attention kernels that this machine runs, best first."""

class AttentionTensor:
    """Address and strides (in elements) of one tensor whose last dimension is contiguous."""

    def __init__(self, data: int, batch: int, head: int, token: int) -> None: ...

class AttentionParams:
    """One attention call; see csrc/attention.h for the meaning of each field."""

    query: AttentionTensor
    key: AttentionTensor
    value: AttentionTensor
    out: AttentionTensor
    normalizer: AttentionTensor
    grad_out: AttentionTensor
    grad_query: AttentionTensor
    grad_key: AttentionTensor
    grad_value: AttentionTensor
    mask_kind: int
    mask: int
    grad_mask: int
    mask_batch: int
    mask_head: int
    mask_query: int
    mask_key: int
    grad_mask_batch: int
    grad_mask_head: int
    grad_mask_query: int
    grad_mask_key: int
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_size: int
    value_size: int
    cumulative_queries: int
    cumulative_keys: int
    storage: int
    is_causal: bool
    scale: float
    threads: int
    has_dropout: bool
    dropout_key: int
    threshold: int
    dropout_scale: float
    sample_offset: int
    head_offset: int
    heads_global: int
    query_offset: int
    key_offset: int

    def __init__(self) -> None: ...

def attention_forward(params: AttentionParams, isa: str = "") -> None:
    """Fill out and normalizer."""

def attention_backward(params: AttentionParams, isa: str = "") -> None:
    """Fill the gradients of query, key and value."""

def attention_mask_gradient(params: AttentionParams, isa: str = "") -> None:
    """Add the gradient of an additive attn_mask to `grad_mask`."""
