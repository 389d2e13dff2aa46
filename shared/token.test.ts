import { createHmac } from 'node:crypto';
import { test } from 'tap';
import { deviceToken, equalsSecret, isDeviceToken } from './token.js';

const SECRET = 'a secret of some length';

void test('a token is base64url(HMAC-SHA256(secret, id))', (t) => {
  t.equal(deviceToken(SECRET, 'engine-1'), createHmac('sha256', SECRET).update('engine-1').digest('base64url'));
  t.match(deviceToken(SECRET, 'engine-1'), /^[A-Za-z0-9_-]{43}$/);
  t.end();
});

void test('only the device that a token was made for may use it, whole', (t) => {
  const token = deviceToken(SECRET, 'engine-1');
  t.ok(isDeviceToken(SECRET, 'engine-1', token));
  t.notOk(isDeviceToken(SECRET, 'engine-2', token));
  t.notOk(isDeviceToken('another secret', 'engine-1', token));
  t.notOk(isDeviceToken(SECRET, 'engine-1', ''));
  t.notOk(isDeviceToken(SECRET, 'engine-1', token.slice(0, -1)));
  t.notOk(isDeviceToken(SECRET, 'engine-1', `${token}=`));
  for (let i = 0; i < token.length; i++) {
    const other = token[i] === 'A' ? 'B' : 'A';
    t.notOk(isDeviceToken(SECRET, 'engine-1', token.slice(0, i) + other + token.slice(i + 1)), `character ${i}`);
  }
  t.end();
});

void test('secrets compare by their text', (t) => {
  t.ok(equalsSecret(SECRET, SECRET));
  t.notOk(equalsSecret(SECRET, `${SECRET} `));
  t.notOk(equalsSecret(SECRET, ''));
  t.end();
});
