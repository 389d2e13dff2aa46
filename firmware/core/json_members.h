/**
 * Looks up members of a JSON object in place: the few that firmware needs of what an edge says, with neither heap nor
 * recursion. It trusts the edge for the grammar and itself for the bounds: on text that is no JSON it finds nothing or
 * something, and never leaves the text.
 */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

/** A part of a text; `size` 0: not there. A string's quotes are part of it. */
struct Slice {
  const char* text;
  size_t size;
};

/** The value of a member of the object itself, not of one nested in it. */
Slice findMember(const char* text, size_t size, const char* name);

/** Copies a string's characters. @returns false where it is no string, holds an escape, or does not fit */
bool copyString(Slice value, char* to, size_t size);

/** A whole number of 0 to 2^53 - 1; `otherwise` where it is none. */
uint64_t wholeNumber(Slice value, uint64_t otherwise);

}  // namespace holdfast
