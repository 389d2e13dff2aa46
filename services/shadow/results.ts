/**
 * What devices say of commands: records of kind `result`, `{"id": …, "status": "SUCCEEDED", "data": …}`.
 *
 * The engine applies them with all other records, so that a command ends in the same write as the position of the record
 * that ended it, and its entry among the thing's pending commands goes with it. A result counts once: devices send again
 * what was not acked, and a router brings again what was not applied.
 */
import type { CommandView } from './api.js';
import { commandWrite, decodeCommand, finishedCommand, isCommandId, isOpen, RESULT_STATES } from './command.js';
import type { DownlinkMetrics } from './downlink-metrics.js';
import { isJsonObject } from './json.js';
import type { Thing } from './thing.js';
import type { PutCommand } from './things-api.js';

export interface CommandResult {
  readonly id: string;
  readonly status: string;
  /** undefined: the device said no more. */
  readonly data: unknown;
}

/** Why a result changed nothing; a label of the engine's counter. */
export type ResultRefusal = 'unknown_status' | 'unknown_command' | 'not_its_command' | 'command_over';

/** @returns undefined where the payload is no result, or its id is none that a command can have */
export function readResult(payload: unknown): CommandResult | undefined {
  if (!isJsonObject(payload)) return undefined;
  const { id, status, data } = payload;
  if (typeof id !== 'string' || typeof status !== 'string' || !isCommandId(id)) return undefined;
  return { id, status, data };
}

export class Results {
  /** Where the engine finds it beside applyResult. */
  readonly readResult = readResult;

  /** @param retentionMs how long a command is kept once it is over */
  constructor(
    private readonly retentionMs: number,
    private readonly metrics: DownlinkMetrics,
  ) {}

  /**
   * Ends a command, where the result is for one of the thing's that is not over: the thing forgets that it is pending, and
   * the command's new value is put. One that is past its time and has not timed out yet is ended by its result.
   * @param value the command's value; undefined: there is none
   * @param timeMs when the device said so, ms since 1970
   * @returns why nothing was changed, or undefined
   */
  applyResult(
    thing: Thing,
    value: Buffer | undefined,
    result: CommandResult,
    timeMs: number,
    put: PutCommand,
  ): ResultRefusal | undefined {
    const state = RESULT_STATES.find((known) => known === result.status);
    if (state === undefined) return 'unknown_status';
    if (value === undefined) return 'unknown_command';
    const command: CommandView = decodeCommand(value);
    if (command.thing !== thing.id) return 'not_its_command';
    if (!isOpen(command)) return 'command_over';
    put(commandWrite(finishedCommand(command, state, timeMs, result.data), this.retentionMs));
    thing.setPending(thing.pending.filter((id) => id !== command.id));
    this.metrics.commands.inc({ state });
    return undefined;
  }
}
