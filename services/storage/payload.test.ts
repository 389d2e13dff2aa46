import fc from 'fast-check';
import t, { test } from 'tap';
import { Session } from '../../shared/database.js';
import { TestPostgres } from '../../test/support/postgres.js';
import { isOneValue, refusalOf } from './payload.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

/** Pieces that good and bad JSON is made of. */
const piece = fc.constantFrom(
  ...['{', '}', '[', ']', ',', ':', '"', '\\', '\\u', '\\u0000', '\\u0041', '\\ud83d', '\\ude00', '\\\\', '\\"', '\\n'],
  ...['a', '0', '1', '-', '.', 'e5', 'true', 'null', ' ', '\n', '\t', '\u0001', '\0', 'é', '\ufeff', '"a"', '{"a":1}'],
);
const payload = fc.oneof(
  fc.array(piece, { maxLength: 12 }).map((pieces) => Buffer.from(pieces.join(''))),
  fc.array(piece, { maxLength: 6 }).map((pieces) => Buffer.from(`"${pieces.join('')}"`)),
  fc.json().map((json) => Buffer.from(json)),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.concat([Buffer.from('"'), bytes, Buffer.from('"')])),
);

/** Which of the payloads PostgreSQL takes as jsonb. */
async function accepted(session: Session, payloads: readonly Buffer[]): Promise<boolean[]> {
  const sql = `select pg_temp.takes(payload) as takes from unnest($1::bytea[]) with ordinality as p (payload, n) order by n`;
  const { rows } = await session.client.query<{ takes: boolean }>(sql, [payloads]);
  return rows.map(({ takes }) => takes);
}

void test('what is refused without asking, PostgreSQL refuses too; of what is made by hand, nothing else', async (t) => {
  const session = await Session.open(postgres.url, 'test');
  await session.client.query(
    `create function pg_temp.takes(payload bytea) returns boolean language plpgsql as $$
     begin perform convert_from(payload, 'UTF8')::jsonb; return true; exception when others then return false; end $$`,
  );
  const property = fc.asyncProperty(fc.array(payload, { minLength: 50, maxLength: 200 }), async (payloads) => {
    const takes = await accepted(session, payloads);
    for (const [index, each] of payloads.entries()) {
      const refusal = refusalOf(each);
      if ((refusal === undefined) !== takes[index]) {
        throw new Error(`${JSON.stringify(each.toString())}: PostgreSQL ${takes[index]!}, we say ${refusal ?? 'good'}`);
      }
    }
  });
  await t.resolves(fc.assert(property, { numRuns: 60 }));
  await session.close();
});

void test('a payload that would go on after its value is told from one that does not', (t) => {
  for (const good of ['1', '{"a":[1,2]}', '"a,b:c}"', '"\\"},"', '', ' [ ] ', 'true']) {
    t.ok(isOneValue(Buffer.from(good)), good);
  }
  for (const bad of ['1,2', '1}', '1,"a":2', '{}}', '"a":1', '1],[2', '"\\\\",1', '{', '[[]']) {
    t.notOk(isOneValue(Buffer.from(bad)), bad);
  }
  t.end();
});

void test('a payload that is no JSON never becomes good JSON by what is put around it', (t) => {
  const property = fc.property(payload, (bytes) => {
    if (!isOneValue(bytes) || isJson(bytes.toString())) return;
    t.notOk(isJson(`{"report":${bytes.toString()}}`), bytes.toString());
  });
  fc.assert(property, { numRuns: 5_000 });
  t.pass('none did');
  t.end();
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
