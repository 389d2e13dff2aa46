import fc from 'fast-check';
import { test } from 'tap';
import { until } from '../../test/support/processes.js';
import { MAX_PENDING, RETENTION_MS, TestCommands } from '../../test/support/shadow-commands.js';
import type { CommandState, CommandView } from './api.js';
import { RequestError } from './request-error.js';

/** What a command must be; written from the rules, not from the code. */
interface Model {
  readonly id: string;
  readonly thing: string;
  readonly queuedAt: number;
  readonly expiresAt: number;
  state: CommandState;
  sentAt: number | undefined;
  sends: number;
  finishedAt: number | undefined;
  result: unknown;
}

type Step =
  | { readonly kind: 'send'; readonly thing: string; readonly ttlMs: number }
  | { readonly kind: 'sent'; readonly command: number }
  | { readonly kind: 'result'; readonly command: number; readonly status: CommandState; readonly data: number }
  | { readonly kind: 'cancel'; readonly command: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'crash'; readonly command: number };

const THINGS = ['press-1', 'press-2'];
const command = fc.nat(30);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('send' as const),
    thing: fc.constantFrom(...THINGS),
    ttlMs: fc.integer({ min: 1, max: 900 }),
  }),
  fc.record({ kind: fc.constant('sent' as const), command }),
  fc.record({
    kind: fc.constant('result' as const),
    command,
    status: fc.constantFrom<CommandState>('SUCCEEDED', 'FAILED', 'REJECTED'),
    data: fc.nat(5),
  }),
  fc.record({ kind: fc.constant('cancel' as const), command }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 100, 800, RETENTION_MS) }),
  fc.record({ kind: fc.constant('crash' as const), command }),
);

const OPEN: readonly CommandState[] = ['QUEUED', 'SENT'];

class Run {
  shadow = new TestCommands();
  models: Model[] = [];

  constructor() {
    for (const thing of THINGS) this.shadow.things.know(thing);
  }

  async take(step: Step): Promise<void> {
    const model = 'command' in step ? this.models[step.command % Math.max(1, this.models.length)] : undefined;
    const { shadow } = this;
    if (step.kind === 'send') {
      await this.#send(step.thing, step.ttlMs);
    } else if (step.kind === 'wait') {
      shadow.nowMs += step.ms;
      while (await shadow.expiry.step()) continue;
      this.#age();
    } else if (model === undefined) {
      return;
    } else if (step.kind === 'sent') {
      await shadow.outbox.sent([{ id: model.id, atMs: ++shadow.nowMs }]);
      model.sends++;
      model.sentAt ??= shadow.nowMs;
      if (model.state === 'QUEUED') model.state = 'SENT';
    } else if (step.kind === 'result') {
      shadow.result(model.thing, { id: model.id, status: step.status, data: step.data }, ++shadow.nowMs);
      shadow.things.flush();
      if (OPEN.includes(model.state)) end(model, step.status, shadow.nowMs, step.data);
    } else if (step.kind === 'cancel') {
      await this.#cancel(model);
    } else {
      await this.#crash(model);
    }
  }

  async check(): Promise<void> {
    for (const thing of THINGS) {
      const models = this.models.filter((model) => model.thing === thing);
      const open = models.filter(({ state }) => OPEN.includes(state)).map(({ id }) => id);
      assertSame(this.shadow.things.peek(thing).pending, open, `pending of ${thing}`);
      const listed = await this.shadow.commands.listCommands(thing, { pageSize: 1_000, after: '' });
      assertSame(listed.items.map(shown).reverse(), models.map(shown), `commands of ${thing}`);
    }
  }

  async #send(thing: string, ttlMs: number): Promise<void> {
    const { shadow } = this;
    const pending = this.models.filter((model) => model.thing === thing && OPEN.includes(model.state)).length;
    try {
      const { id } = await shadow.commands.sendCommand(thing, { name: 'x', data: null, ttlMs });
      assertSame(pending < MAX_PENDING, true, 'there was room');
      const expiresAt = shadow.nowMs + ttlMs;
      const empty = { sentAt: undefined, sends: 0, finishedAt: undefined, result: undefined };
      this.models.push({ id, thing, queuedAt: shadow.nowMs, expiresAt, state: 'QUEUED', ...empty });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      assertSame([error.status, pending], [429, MAX_PENDING], 'why it was refused');
    }
  }

  async #cancel(model: Model): Promise<void> {
    try {
      await this.shadow.commands.cancelCommand(model.thing, model.id);
      assertSame(OPEN.includes(model.state), true, 'it was open');
      end(model, 'CANCELED', this.shadow.nowMs, undefined);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      assertSame([error.status, OPEN.includes(model.state)], [409, false], 'why it was not canceled');
    }
  }

  /** Something is under way when the process dies, and is as if it had never been. */
  async #crash(model: Model): Promise<void> {
    const { shadow } = this;
    const { things } = shadow;
    things.flushesItself = false;
    void shadow.outbox.sent([{ id: model.id, atMs: shadow.nowMs }]);
    const before = things.peekCommand(model.id);
    await until(() => things.peekCommand(model.id) !== before);
    shadow.result(model.thing, { id: model.id, status: 'FAILED' });
    this.shadow = new TestCommands(shadow.store);
    this.shadow.nowMs = shadow.nowMs;
  }

  #age(): void {
    const { nowMs } = this.shadow;
    // One step of the expiry does one thing to a command, as it was when the step began.
    for (const model of this.models) {
      if (OPEN.includes(model.state) && model.expiresAt <= nowMs) end(model, 'TIMED_OUT', nowMs, undefined);
      else if (model.finishedAt !== undefined && model.finishedAt + RETENTION_MS <= nowMs) model.sends = Number.NaN;
    }
    this.models = this.models.filter(({ sends }) => !Number.isNaN(sends));
  }
}

function end(model: Model, state: CommandState, atMs: number, result: unknown): void {
  model.state = state;
  model.finishedAt = atMs;
  model.result = result;
}

function shown({
  id,
  thing,
  state,
  queuedAt,
  expiresAt,
  sentAt,
  sends,
  finishedAt,
  result,
}: Model | CommandView): unknown {
  return [id, thing, state, queuedAt, expiresAt, sentAt, sends, finishedAt, result];
}

function assertSame(found: unknown, wanted: unknown, what: string): void {
  const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${what}: found ${left}, wanted ${right}`);
}

void test('whatever happens to commands in whatever order, each ends once, and is pending until then', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const run = new Run();
      for (const each of steps) {
        await run.take(each);
        await run.check();
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});
