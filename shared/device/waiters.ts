/** Callers that wait for one moment, which comes or does not. */
import type { HoldfastError } from '../errors.js';

interface Waiter {
  resolve(): void;
  reject(error: HoldfastError): void;
}

export class Waiters {
  #waiters: Waiter[] = [];

  wait(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  resolve(): void {
    for (const waiter of this.#takeAll()) waiter.resolve();
  }

  reject(error: HoldfastError): void {
    for (const waiter of this.#takeAll()) waiter.reject(error);
  }

  #takeAll(): Waiter[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    return waiters;
  }
}
