"""Gemm, MatMul, Einsum."""

from .common import case, each


def gemms():
    """Gemm: transposed, scaled, with every shape of C."""
    each("gemm_plain", (7, 9, 11, 13), "y = Gemm(x, w, c)", x=(2, 5), w=(5, 4), c=(4,))
    case("gemm_transb_alpha_beta", 7, "y = Gemm<transB=1, alpha=0.5, beta=-1.5>(x, w, c)", x=(2, 5), w=(4, 5), c=(4,))
    case("gemm_beta_zero", 9, "y = Gemm<transB=1, beta=0.0>(x, w, c)", x=(2, 5), w=(4, 5), c=(4,))
    case("gemm_c_row", 11, "y = Gemm<alpha=2.0>(x, w, c)", x=(2, 5), w=(5, 4), c=(1, 4))
    case("gemm_c_column", 11, "y = Gemm<beta=3.0>(x, w, c)", fixed=True, x=(3, 5), w=(5, 4), c=(3, 1))
    case("gemm_c_one", 11, "y = Gemm(x, w, c)", x=(2, 5), w=(5, 4), c=(1,))
    case("gemm_c_scalar", 11, "y = Gemm<transB=1>(x, w, c)", x=(2, 5), w=(4, 5), c=())
    case("gemm_c_full", 11, "y = Gemm(x, w, c)", fixed=True, x=(3, 5), w=(5, 4), c=(3, 4))
    each("gemm_c_absent", (11, 13), "y = Gemm<transB=1, alpha=-0.25>(x, w)", x=(2, 5), w=(4, 5))
    case("gemm_transa", 13, "y = Gemm<transA=1>(x, w, c)", fixed=True, x=(5, 3), w=(5, 4), c=(4,))
    case("gemm_transa_transb", 13, "y = Gemm<transA=1, transB=1, alpha=0.5>(x, w)", fixed=True, x=(5, 3), w=(4, 5))
    case("gemm_b_is_data", 13, "y = Gemm(x, x_b, c)", fixed=True, x=(2, 5), x_b=(5, 4), c=(4,))
    case("gemm_a_is_constant", 13, "y = Gemm(w, x)", fixed=True, x=(5, 3), w=(4, 5))


def matmuls():
    """MatMul of every rank."""
    each("matmul_2d", (7, 9, 13), "y = MatMul(x, w)", x=(2, 5), w=(5, 3))
    case("matmul_3d_by_2d", 13, "y = MatMul(x, w)", x=(2, 4, 5), w=(5, 3))
    case("matmul_4d_by_4d_data", 13, "y = MatMul(x_a, x_b)", x_a=(2, 3, 4, 5), x_b=(2, 3, 5, 2))
    case("matmul_4d_self_transposed", 13, "t = Transpose<perm=[0, 1, 3, 2]>(x)\ny = MatMul(x, t)", x=(2, 2, 3, 4))
    case("matmul_batch_broadcast", 13, "y = MatMul(x, w)", x=(2, 3, 4, 5), w=(3, 5, 2))
    case("matmul_batch_broadcast_ones", 13, "y = MatMul(x, w)", x=(2, 1, 4, 5), w=(1, 3, 5, 2))
    case("matmul_constant_first", 13, "y = MatMul(w, x)", x=(2, 5, 3), w=(4, 5))
    case("matmul_by_vector", 13, "y = MatMul(x, w)", x=(2, 4, 5), w=(5,))
    case("matmul_vector_first", 13, "y = MatMul(w, x)", x=(2, 5, 3), w=(5,))
    case("matmul_vectors", 13, "y = MatMul(x, w)", fixed=True, x=(5,), w=(5,))


def einsums():
    """Einsum."""
    image = (2, 3, 4, 5)
    case("einsum_matmul", 12, 'y = Einsum<equation="bij, bjk -> bik">(x, x_b)', x=(2, 3, 4), x_b=(2, 4, 5))
    case("einsum_attention", 12, 'y = Einsum<equation="bhqd,bhkd->bqhk">(x, x_b)', x=(2, 2, 3, 4), x_b=(2, 2, 5, 4))
    case("einsum_by_weights", 12, 'y = Einsum<equation="nchw,oc->nohw">(x, w)', x=image, w=(6, 3))
    case("einsum_sum_and_outer", 12, 'y = Einsum<equation="ij,kl->ik">(x, x_b)', fixed=True, x=(2, 3), x_b=(4, 5))
    case("einsum_permute", 12, 'y = Einsum<equation="bchw->bhwc">(x)', x=image)
    case("einsum_ellipsis", 12, 'y = Einsum<equation="...ij,jk->...ik">(x, w)', x=image, w=(5, 2))
    case("einsum_implicit", 12, 'y = Einsum<equation="bj,bi">(x, x_b)', x=(2, 3), x_b=(2, 4))
