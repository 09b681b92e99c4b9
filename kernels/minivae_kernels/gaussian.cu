// The sampler and the KL of a Gaussian posterior N(mu, exp(logvar)):
//   z = mu + sigma eps,  kl_n = 1/2 sum mu^2 + exp(logvar) - 1 - logvar
//
// Four latents at once, a `quad`. An image is shared by `lanes` neighbouring lanes, a
// power of 2: as many as it has quads, and 32 at most. Z = 4 quads.
#include "philox.cuh"

// FULL is how many blocks of 256 threads a multiprocessor must have room for. 8 fill it,
// with 32 registers a thread; the precise functions would spill, and may have 40.
#ifdef FAST  // the hardware's own functions, for float
#define EXP(x) __expf(x)
#define FULL 8
#else
#define EXP(x) exp(x)
#define FULL 6
#endif

// Where a lane stands: its image, and its place in it. Lanes of one warp stay together,
// also those without an image: all of them take part in sums and broadcasts.
struct Place {
  unsigned lane, lanes, first, n, step;
  __device__ Place(unsigned lanes) : lanes(lanes) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x, images = 32 / lanes;
    lane = thread % lanes;
    first = thread / 32 * images;
    n = first + thread % 32 / lanes;
    step = gridDim.x * blockDim.x / 32 * images;
  }
  __device__ void next() { first += step, n += step; }
};

// Forward

// Return z of one latent; add its term to the sum.
__device__ inline real sample(real mu, real logvar, real eps, real *total) {
  *total += mu * mu + (expm1(logvar) - logvar);
  return mu + EXP(logvar / 2) * eps;
}

template <typename Noise>
__device__ inline void forward(const real4 *mu, const real4 *logvar, Noise noise,
                               real4 *z, real *kl, unsigned N, unsigned quads,
                               unsigned lanes) {
  for (Place at(lanes); at.first < N; at.next()) {
    real total = 0;
    if (at.n < N)
      for (unsigned d = at.lane; d < quads; d += lanes) {
        unsigned i = at.n * quads + d;
        real4 m = mu[i], a = logvar[i], eps = noise(i);
        z[i] = {sample(m.x, a.x, eps.x, &total), sample(m.y, a.y, eps.y, &total),
                sample(m.z, a.z, eps.z, &total), sample(m.w, a.w, eps.w, &total)};
      }
    total = lanes_sum(total, lanes);
    if (at.n < N && at.lane == 0) kl[at.n] = total / 2;
  }
}

// The noise read from memory: 16 bytes a latent.
extern "C" __global__ void forward_stored(const real4 *__restrict__ mu,
                                          const real4 *__restrict__ logvar,
                                          const real4 *__restrict__ eps,
                                          real4 *__restrict__ z, real *__restrict__ kl,
                                          unsigned N, unsigned quads, unsigned lanes) {
  auto noise = [=](unsigned i) { return eps[i]; };
  forward(mu, logvar, noise, z, kl, N, quads, lanes);
}

// The noise drawn in registers, a Philox block a quad: 12 bytes a latent.
extern "C" __global__ void forward_drawn(const real4 *__restrict__ mu,
                                         const real4 *__restrict__ logvar, unsigned low,
                                         unsigned high, unsigned stream,
                                         unsigned long long first,
                                         real4 *__restrict__ z, real *__restrict__ kl,
                                         unsigned N, unsigned quads, unsigned lanes) {
  auto noise = [=](unsigned i) {
    return normals(philox(first / 4 + i, {low, high, stream}));
  };
  forward(mu, logvar, noise, z, kl, N, quads, lanes);
}

// Backward: mu_bar = z_bar + k mu,  logvar_bar = 1/2 (z_bar sigma eps + k (exp(logvar) - 1))
// with k the adjoint of the image's KL. They differ in how they come by sigma eps.

template <typename Spread>
__device__ inline void backward(const real4 *z_bar, const real *kl_bar, const real4 *mu,
                                const real4 *logvar, Spread spread, real4 *mu_bar,
                                real4 *logvar_bar, unsigned N, unsigned quads,
                                unsigned lanes) {
  for (Place at(lanes); at.first < N; at.next()) {
    // one lane reads k and hands it to the others: once an image, not once a quad
    real k = at.n < N && at.lane == 0 ? kl_bar[at.n] : real(0);
    k = __shfl_sync(0xffffffffu, k, 0, lanes);
    if (at.n < N)
      for (unsigned d = at.lane; d < quads; d += lanes) {
        unsigned i = at.n * quads + d;
        real4 g = z_bar[i], m = mu[i], a = logvar[i], s = spread(i, m, a);
        mu_bar[i] = {g.x + k * m.x, g.y + k * m.y, g.z + k * m.z, g.w + k * m.w};
        logvar_bar[i] = {
            (g.x * s.x + k * expm1(a.x)) / 2, (g.y * s.y + k * expm1(a.y)) / 2,
            (g.z * s.z + k * expm1(a.z)) / 2, (g.w * s.w + k * expm1(a.w)) / 2};
      }
  }
}

__device__ inline real4 scaled(real4 a, real4 eps) {
  return {EXP(a.x / 2) * eps.x, EXP(a.y / 2) * eps.y, EXP(a.z / 2) * eps.z,
          EXP(a.w / 2) * eps.w};
}

// The noise was kept: 24 bytes a latent.
extern "C" __global__ void backward_stored(
    const real4 *__restrict__ z_bar, const real *__restrict__ kl_bar,
    const real4 *__restrict__ mu, const real4 *__restrict__ logvar,
    const real4 *__restrict__ eps, real4 *__restrict__ mu_bar,
    real4 *__restrict__ logvar_bar, unsigned N, unsigned quads, unsigned lanes) {
  auto spread = [=](unsigned i, real4, real4 a) { return scaled(a, eps[i]); };
  backward(z_bar, kl_bar, mu, logvar, spread, mu_bar, logvar_bar, N, quads, lanes);
}

// The sample is read back, sigma eps = z - mu: 24 bytes, but no exp.
extern "C" __global__ void backward_sample(
    const real4 *__restrict__ z_bar, const real *__restrict__ kl_bar,
    const real4 *__restrict__ mu, const real4 *__restrict__ logvar,
    const real4 *__restrict__ z, real4 *__restrict__ mu_bar,
    real4 *__restrict__ logvar_bar, unsigned N, unsigned quads, unsigned lanes) {
  auto spread = [=](unsigned i, real4 m, real4) {
    real4 v = z[i];
    return real4{v.x - m.x, v.y - m.y, v.z - m.z, v.w - m.w};
  };
  backward(z_bar, kl_bar, mu, logvar, spread, mu_bar, logvar_bar, N, quads, lanes);
}

// The noise is drawn again from its counter: 20 bytes, and nothing kept.
extern "C" __global__ void __launch_bounds__(256, FULL) backward_drawn(
    const real4 *__restrict__ z_bar, const real *__restrict__ kl_bar,
    const real4 *__restrict__ mu, const real4 *__restrict__ logvar, unsigned low,
    unsigned high, unsigned stream, unsigned long long first,
    real4 *__restrict__ mu_bar, real4 *__restrict__ logvar_bar, unsigned N,
    unsigned quads, unsigned lanes) {
  auto spread = [=](unsigned i, real4, real4 a) {
    return scaled(a, normals(philox(first / 4 + i, {low, high, stream})));
  };
  backward(z_bar, kl_bar, mu, logvar, spread, mu_bar, logvar_bar, N, quads, lanes);
}
