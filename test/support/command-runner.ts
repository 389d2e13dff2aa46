/** A device in a process of its own that does commands, and tells its parent when it does one that never ends. */
import { Device } from '../../shared/device.js';

const [url, directory] = process.argv.slice(2) as [string, string];
const device = new Device({ url, id: 'press-1', buffer: { directory } });
device.onCommand(async ({ name, id }) => {
  if (id !== 'endless') return name;
  process.send!('doing');
  return new Promise(() => undefined);
});
device.on('open', () => process.send!('open'));
device.connect();
