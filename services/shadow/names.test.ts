import fc from 'fast-check';
import { test } from 'tap';
import { jsonBytes } from './patch.js';
import { Names, namesFromText, namesOf, NO_NAMES } from './names.js';

const lists = fc.uniqueArray(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', '\ud800', '€')), {
  maxLength: 30,
});

void test('names are found where they stand, and come back from their text', (t) => {
  fc.assert(
    fc.property(lists, fc.string(), (list, other) => {
      const names = namesOf(list);
      const back = namesFromText(names.text);
      return (
        back !== undefined &&
        JSON.stringify(back.list) === JSON.stringify(list) &&
        list.every((name, at) => names.find(name) === at && back.find(name) === at) &&
        names.find(other) === list.indexOf(other) &&
        /^[\x20-\x7e]*$/.test(names.text) &&
        names.jsonBytes === list.reduce((sum, name) => sum + jsonBytes(name) + 1, 2 + Math.max(0, list.length - 1))
      );
    }),
  );
  t.end();
});

void test('the same names are the same list, also beyond the number of lists that are shared', (t) => {
  t.equal(namesOf([]), NO_NAMES);
  t.equal(namesOf(['a', 'b']), namesOf(['a', 'b']));
  t.equal(namesFromText('["a","b"]'), namesOf(['a', 'b']));
  t.not(namesOf(['b', 'a']), namesOf(['a', 'b']));
  const early = namesOf(['early']);
  for (let i = 0; i < 10_000; i++) namesOf([`name${i}`]);
  t.not(namesOf(['early']), early, 'the table was started afresh');
  t.equal(early.find('early'), 0);
  const long = 'x'.repeat(2_000);
  t.not(namesOf([long]), namesOf([long]), 'long lists are not shared');
  t.end();
});

void test('a text that is no list of distinct names is none', (t) => {
  for (const text of ['', '{}', 'null', '["a"', '["a","a"]', '["a",1]', '[["a"]]']) {
    t.equal(namesFromText(text), undefined, text);
  }
  t.ok(namesFromText('[]') instanceof Names);
  t.end();
});
