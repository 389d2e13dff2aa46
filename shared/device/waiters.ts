/** Callers that wait for one moment, which comes or does not. */
import type { HoldfastError } from '../errors.js';

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: HoldfastError): void;
}

export class Waiters<T = void> {
  #waiters: Waiter<T>[] = [];

  get waiting(): boolean {
    return this.#waiters.length > 0;
  }

  wait(): Promise<T> {
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  resolve(value: T): void {
    for (const waiter of this.#takeAll()) waiter.resolve(value);
  }

  reject(error: HoldfastError): void {
    for (const waiter of this.#takeAll()) waiter.reject(error);
  }

  #takeAll(): Waiter<T>[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    return waiters;
  }
}
