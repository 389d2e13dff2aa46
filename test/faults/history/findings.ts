/**
 * What the checker may find, by the rule that is broken:
 *
 *   lost        an acked record is missing
 *   doubled     a record is there more than once
 *   unsent      a record is there that was never sent, was refused, or holds other data than was sent
 *   disordered  a device's records whose first places in a queue are not in the order of their seq
 *   position    a position went back: a cursor, a consumer's position, what is released, what the router holds
 *   cursor      the router's cursor of storage, or what the router has released, is ahead of what is committed
 *   released    an edge has released what the router does not hold
 *   shadow      a document is not the fold of what was reported
 */
export const RULES = ['lost', 'doubled', 'unsent', 'disordered', 'position', 'cursor', 'released', 'shadow'] as const;
export type Rule = (typeof RULES)[number];

/** Findings listed a rule; one is enough to fail. */
const LISTED = 20;

export class Findings {
  readonly #listed = new Map<Rule, string[]>();
  readonly #counts = new Map<Rule, number>();

  add(rule: Rule, what: string): void {
    const listed = this.#listed.get(rule) ?? [];
    this.#listed.set(rule, listed);
    if (listed.length < LISTED) listed.push(what);
    this.#counts.set(rule, this.count(rule) + 1);
  }

  count(rule: Rule): number {
    return this.#counts.get(rule) ?? 0;
  }

  /** The rules that were broken. */
  get broken(): Rule[] {
    return RULES.filter((rule) => this.count(rule) > 0);
  }

  /** The first findings of each rule that was broken, one line each; empty: nothing was found. */
  get lines(): string[] {
    return RULES.flatMap((rule) => (this.#listed.get(rule) ?? []).map((what) => `${rule}: ${what}`));
  }
}
