/**
 * One command: its value, its states, and how it is kept. Pure; commands.ts says when which step is taken.
 *
 *   QUEUED ──sent──▶ SENT ──sent again──▶ SENT          queuedAt, sentAt (the first time), sends (how often)
 *     └───────┬────────┘
 *             ├─ result of the device ─▶ SUCCEEDED, FAILED, REJECTED        finishedAt, result
 *             ├─ expiresAt is past ────▶ TIMED_OUT                          finishedAt
 *             └─ cancelCommand ────────▶ CANCELED                           finishedAt
 *
 * A command that is over stays as it is: a result that comes later, or twice, changes nothing. Only what is known of its
 * sending is still added: that it was sent is written down after it was sent, and the device may have been faster, or the
 * application may have canceled it meanwhile and wants to know that the device may do it all the same.
 *
 * Kept as a byte for the format and JSON: commands are few beside records, and people read them when something is wrong.
 */
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { COMMAND_STATES, type CommandRequest, type CommandState, type CommandView } from './api.js';
import { isJsonObject } from './json.js';
import type { CommandWrite } from './store.js';

/** What a device may say of a command. */
export const RESULT_STATES = ['SUCCEEDED', 'FAILED', 'REJECTED'] as const;
export type ResultState = (typeof RESULT_STATES)[number];

const FORMAT = 1;
/** A UUID of version 7, as commands.ts makes them. Ids from outside are held against it before the store sees them. */
const COMMAND_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** True for what can be the id of a command. */
export function isCommandId(id: string): boolean {
  return COMMAND_ID.test(id);
}

export function newCommand(id: string, thing: string, request: CommandRequest, nowMs: number): CommandView {
  const { name, data, ttlMs } = request;
  return { id, thing, name, data, state: 'QUEUED', queuedAt: nowMs, expiresAt: nowMs + ttlMs, sends: 0 };
}

/** True until the command has a final state. */
export function isOpen({ state }: CommandView): boolean {
  return state === 'QUEUED' || state === 'SENT';
}

/** The command after it was given to the downlink at `atMs`; a final state stays. */
export function sentCommand(command: CommandView, atMs: number): CommandView {
  const state = command.state === 'QUEUED' ? 'SENT' : command.state;
  return { ...command, state, sentAt: command.sentAt ?? atMs, sends: command.sends + 1 };
}

/**
 * The command with its final state.
 * @param atMs when; a device whose clock is behind cannot end a command before it was queued
 * @param result what the device said; undefined where it said nothing
 */
export function finishedCommand(
  command: CommandView,
  state: Exclude<CommandState, 'QUEUED' | 'SENT'>,
  atMs: number,
  result?: unknown,
): CommandView {
  if (!isOpen(command)) throw new Error(`command ${command.id} is ${command.state} already`);
  const finished = { ...command, state, finishedAt: Math.max(atMs, command.queuedAt) };
  return result === undefined ? finished : { ...finished, result };
}

/** When the store has to bring it up: to time out while it is open, to be removed once it is over; ms since 1970. */
export function dueMs({ expiresAt, finishedAt }: CommandView, retentionMs: number): number {
  return finishedAt === undefined ? expiresAt : finishedAt + retentionMs;
}

/** What is written of it. */
export function commandWrite(command: CommandView, retentionMs: number): CommandWrite {
  const { id, thing } = command;
  return { id, thing, value: encodeCommand(command), dueMs: dueMs(command, retentionMs) };
}

/** What the device gets, JSON. */
export function commandPayload({ id, name, data, expiresAt }: CommandView): string {
  return JSON.stringify({ id, name, data, expires: expiresAt });
}

export function encodeCommand(command: CommandView): Buffer {
  return Buffer.concat([Buffer.of(FORMAT), Buffer.from(JSON.stringify(command), 'utf8')]);
}

/** @throws HoldfastError store where the value is no command: the store is damaged, or a newer shadow wrote it */
export function decodeCommand(value: Buffer): CommandView {
  const problem = (why: string, cause?: unknown): HoldfastError => {
    const message = `the store holds a command of ${value.length} bytes that cannot be read: ${why}`;
    return new HoldfastError('store', message, false, cause);
  };
  if (value[0] !== FORMAT) throw problem(`its format is ${value[0] ?? 'missing'}, and this shadow knows ${FORMAT}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(value.toString('utf8', 1));
  } catch (error) {
    throw problem(messageOf(error), error);
  }
  if (!isCommand(parsed)) throw problem('a field is missing or has the wrong type');
  return parsed;
}

function isCommand(value: unknown): value is CommandView {
  if (!isJsonObject(value)) return false;
  const { id, thing, name, state, queuedAt, expiresAt, sentAt, sends, finishedAt } = value;
  const isState = COMMAND_STATES.some((known) => known === state);
  const texts = [id, thing, name].every((text) => typeof text === 'string');
  const numbers = [queuedAt, expiresAt, sends].every((number) => typeof number === 'number');
  const times = [sentAt, finishedAt].every((time) => time === undefined || typeof time === 'number');
  if (!isState || !texts || !numbers || !times || !('data' in value)) return false;
  // A final state has its time, and nothing else has one.
  return (finishedAt === undefined) === (state === 'QUEUED' || state === 'SENT');
}
