/** What the host tests share: a check that ends the test with its place, and numbers from a printed seed. */
#pragma once
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                  \
    }                                                                           \
  } while (false)

#define CHECK_EQUAL(found, wanted)                                                                              \
  do {                                                                                                          \
    const auto found_ = (found);                                                                                \
    const auto wanted_ = (wanted);                                                                              \
    if (!(found_ == wanted_)) {                                                                                 \
      fprintf(stderr, "%s:%d: %s is %.0f, not %.0f\n", __FILE__, __LINE__, #found, static_cast<double>(found_), \
              static_cast<double>(wanted_));                                                                    \
      abort();                                                                                                  \
    }                                                                                                           \
  } while (false)

namespace holdfast {

/** splitmix64: the same numbers from the same seed on every machine. */
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t mixed = (state_ += 0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  /** From 0 to bound - 1. */
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(next() % bound); }

 private:
  uint64_t state_;
};

/** The seed on the command line, or the one that every run without one takes. */
inline uint64_t seedOf(int count, char** words) {
  const uint64_t seed = count > 1 ? strtoull(words[1], nullptr, 10) : 20261121;
  printf("seed %" PRIu64 "\n", seed);
  return seed;
}

}  // namespace holdfast
