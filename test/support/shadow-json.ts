/** Arbitrary patches of a shadow's section, for property tests: few names, so that they meet. */
import fc from 'fast-check';
import type { Json, JsonObject } from '../../services/shadow/json.js';

const name = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('a', 'b', 'c') },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', '1', '', 'ÿ', '\ud800', 'toString') },
);

const scalar: fc.Arbitrary<Json> = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.string({ maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.constantFrom('\ud800', 'é', '€\u0000"\\'),
);

const array: fc.Arbitrary<Json> = fc.array(
  fc.oneof(scalar, fc.array(scalar, { maxLength: 2 }), fc.dictionary(name, scalar, { maxKeys: 2 })),
  { maxLength: 3 },
);

const { patch } = fc.letrec<{ patch: JsonObject; value: Json }>((tie) => ({
  patch: fc.dictionary(name, tie('value'), { maxKeys: 3 }),
  value: fc.oneof(
    { maxDepth: 3 },
    { weight: 3, arbitrary: scalar },
    { weight: 1, arbitrary: array },
    { weight: 2, arbitrary: fc.constant(null) },
    { weight: 3, arbitrary: tie('patch') },
  ),
}));

/** A patch: objects up to four levels deep, values, arrays, removals. */
export const anyPatch: fc.Arbitrary<JsonObject> = patch;
