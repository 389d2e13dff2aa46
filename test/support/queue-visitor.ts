/** A process that opens and closes a queue beside its writer: `node queue-visitor.js DIR <times>`. */
import { visitQueue } from '../../shared/queue/visit.js';

const [directory, times] = process.argv.slice(2) as [string, string];
for (let visit = 0; visit < Number(times); visit++) await (await visitQueue(directory)).close();
