import { test } from 'tap';
import { Pair } from 'zeromq';
import { freePorts } from '../test/support/processes.js';
import { SendLoop, type Frames } from './send-loop.js';

/** A socket whose sends end when the test says so. */
class SlowSocket {
  readonly sent: string[] = [];
  readonly #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  concurrent = 0;

  send(frames: (Buffer | string)[]): Promise<void> {
    if (++this.concurrent > 1) throw new Error('EBUSY');
    this.sent.push(frames.join('|'));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async settle(error?: Error): Promise<void> {
    this.concurrent--;
    const { resolve, reject } = this.#waiting.shift()!;
    if (error === undefined) resolve();
    else reject(error);
    await new Promise(setImmediate);
  }
}

function failing(error: Error): never {
  throw error;
}

void test('messages leave one at a time, in order', async (t) => {
  const socket = new SlowSocket();
  const loop = new SendLoop(socket, 1_000, failing);
  for (const text of ['a', 'b', 'c']) t.ok(loop.push([text, Buffer.from('-')]));
  t.strictSame(socket.sent, ['a|-']);
  t.equal(loop.waitingBytes, 6);
  await socket.settle();
  t.strictSame(socket.sent, ['a|-', 'b|-']);
  await socket.settle();
  await socket.settle();
  t.strictSame(socket.sent, ['a|-', 'b|-', 'c|-']);
  t.equal(loop.waitingBytes, 0);
  t.ok(loop.push(['d']), 'and it starts again');
  t.equal(socket.sent.at(-1), 'd');
});

void test('beyond its bound it refuses, and takes again when there is room', async (t) => {
  const socket = new SlowSocket();
  const loop = new SendLoop(socket, 10, failing);
  t.ok(loop.push(['123456']));
  t.ok(loop.push(['123456']));
  t.notOk(loop.push(['1']));
  await socket.settle();
  t.ok(loop.push(['1']));
  t.strictSame(socket.sent, ['123456', '123456']);
});

void test('a message that cannot be sent is told, and the loop goes on', async (t) => {
  const socket = new SlowSocket();
  const failed: [string, Frames][] = [];
  const loop = new SendLoop(socket, 1_000, (error, frames) => failed.push([error.message, frames]));
  loop.push(['a']);
  loop.push(['b']);
  await socket.settle(new Error('no such host'));
  t.strictSame(failed, [['no such host', ['a']]]);
  t.strictSame(socket.sent, ['a', 'b']);
});

void test('closed, it drops what waits and says nothing of what was under way', async (t) => {
  const socket = new SlowSocket();
  const loop = new SendLoop(socket, 1_000, failing);
  loop.push(['a']);
  loop.push(['b']);
  loop.close();
  await socket.settle(new Error('the socket was closed'));
  t.strictSame(socket.sent, ['a']);
  t.equal(loop.waitingBytes, 0);
  t.notOk(loop.push(['c']));
});

void test('on a real socket thousands of messages pushed at once arrive in order', async (t) => {
  const [port] = await freePorts(1);
  const receiver = new Pair({ linger: 0 });
  const sender = new Pair({ linger: 0, sendHighWaterMark: 10 });
  await receiver.bind(`tcp://127.0.0.1:${port!}`);
  sender.connect(`tcp://127.0.0.1:${port!}`);
  const loop = new SendLoop(sender, 2 ** 20, failing);
  for (let message = 0; message < 5_000; message++) loop.push([`${message}`]);
  for (let message = 0; message < 5_000; message++) {
    const [frame] = await receiver.receive();
    if (frame!.toString() !== `${message}`) t.fail(`${frame!.toString()} came for ${message}`);
  }
  t.equal(loop.waitingBytes, 0);
  loop.close();
  sender.close();
  receiver.close();
});
