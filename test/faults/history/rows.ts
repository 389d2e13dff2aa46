/** The table of telemetry as a stream: a cursor of the server, some rows at a time. */
import { Session } from '../../../shared/database.js';
import type { Row } from './check.js';
import { KIND_OF_ROW_SQL } from './payload.js';

const BLOCK_ROWS = 20_000;
const KINDS = [undefined, 'telemetry', 'report'] as const;

export async function* readRows(databaseUrl: string): AsyncGenerator<readonly Row[]> {
  const session = await Session.open(databaseUrl, 'history');
  try {
    await session.client.query('begin read only');
    await session.client.query(
      `declare history cursor for select device_id, seq::float8, ${KIND_OF_ROW_SQL} from telemetry`,
    );
    for (;;) {
      const text = `fetch ${BLOCK_ROWS} from history`;
      const { rows } = await session.client.query<[string, number, 0 | 1 | 2]>({ text, rowMode: 'array' });
      if (rows.length === 0) break;
      yield rows.map(([deviceId, seq, kind]) => ({ deviceId, seq, kind: KINDS[kind] }));
    }
    await session.client.query('commit');
  } finally {
    await session.close();
  }
}
