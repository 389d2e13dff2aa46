/** A thing (being written). */
export interface Thing {
  readonly id: string;
}
