/** What the processes of a bench tell the one that started them, over Node's IPC channel. */

/** An event and its numbers; the names of the numbers carry their units. */
export interface Message {
  readonly event: string;
  readonly values: Readonly<Record<string, number>>;
}

/** True for what `tell` sends: services that hold an IPC channel may send things of their own. */
export function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null || !('event' in value) || !('values' in value)) return false;
  const { event, values } = value;
  if (typeof event !== 'string' || typeof values !== 'object' || values === null) return false;
  return Object.values(values).every((number) => typeof number === 'number');
}

/**
 * Tells the parent.
 * @throws Error where the process was started by hand and has none
 */
export function tell(event: string, values: Readonly<Record<string, number>> = {}): void {
  if (process.send === undefined) throw new Error('this is a part of the bench: start it with npm run bench');
  process.send({ event, values } satisfies Message);
}

const parentEnded = (): never => process.exit(1);

/** Ends this process when its parent does, however that ended, or when what it does fails. */
export function runAsChild(work: () => Promise<void>): void {
  process.on('disconnect', parentEnded);
  // Ctrl-C reaches the whole process group: the parent decides when its children go.
  process.on('SIGINT', () => undefined);
  work().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  });
}

/** Lets go of the parent: the process ends once nothing is left to do. */
export function leaveParent(): void {
  process.off('disconnect', parentEnded);
  process.disconnect();
}
