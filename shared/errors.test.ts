import { test } from 'tap';
import { asError, HoldfastError, messageOf } from './errors.js';

void test('an error says what went wrong, why, and whether to try again', (t) => {
  const cause = new Error('ENOSPC');
  const error = new HoldfastError('disk_low', 'the disk is full', true, cause);
  t.match(error, { name: 'HoldfastError', code: 'disk_low', message: 'the disk is full', retry: true, cause });
  t.ok(error instanceof Error);
  t.notOk('cause' in new HoldfastError('disk_low', 'x', false), 'none is not a cause');
  t.end();
});

void test('whatever was thrown has a message and is an error', (t) => {
  const error = new TypeError('no');
  t.equal(messageOf(error), 'no');
  t.equal(messageOf('text'), 'text');
  t.equal(messageOf(undefined), 'undefined');
  t.equal(asError(error), error);
  t.match(asError('text'), { message: 'text' });
  t.end();
});
