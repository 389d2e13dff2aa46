/** What a service's /metrics says, read again: Prometheus' text format, as much of it as our services write. */

/** The values of an exposition, by name; those of one name by their labels. */
export class Exposition {
  readonly #values = new Map<string, { readonly labels: string; readonly value: number }[]>();

  /** @param exposition in Prometheus' text format */
  constructor(exposition: string) {
    for (const line of exposition.split('\n')) {
      const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null) continue;
      const [, name, labels, value] = match as unknown as [string, string, string | undefined, string];
      const list = this.#values.get(name) ?? [];
      list.push({ labels: labels ?? '', value: Number(value) });
      this.#values.set(name, list);
    }
  }

  /** The sum over all labels; undefined where the name is not there. */
  sum(name: string): number | undefined {
    return this.#values.get(name)?.reduce((sum, { value }) => sum + value, 0);
  }

  /** The values of a name by one of its labels. */
  by(name: string, label: string): ReadonlyMap<string, number> {
    const found = (this.#values.get(name) ?? []).flatMap(({ labels, value }): [string, number][] => {
      const match = new RegExp(`(?:^|,)${label}="([^"]*)"`).exec(labels);
      return match === null ? [] : [[match[1]!, value]];
    });
    return new Map(found);
  }
}
