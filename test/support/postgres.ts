/** A PostgreSQL of a test's own: embedded, in a directory that goes with it, on a free port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { EmbeddedPostgres } from '../../services/up/postgres.js';
import { Session } from '../../shared/database.js';
import { freePort } from './ports.js';

export { freePort };

export const silent = pino({ level: 'silent' });

export class TestPostgres {
  private constructor(
    private readonly directory: string,
    private readonly port: number,
    private server: EmbeddedPostgres,
  ) {}

  /** @param parent where its directory is made */
  static async start(parent: string = tmpdir()): Promise<TestPostgres> {
    const directory = await mkdtemp(join(parent, 'holdfast-postgres-'));
    const port = await freePort();
    const test = new TestPostgres(directory, port, makeServer(directory, port));
    await test.server.start();
    return test;
  }

  get url(): string {
    return this.server.url;
  }

  /** Kills the postmaster with -9 and waits for its end. */
  async kill(): Promise<void> {
    process.kill(this.server.pid!, 'SIGKILL');
    await this.server.exited;
  }

  /** Stops the server and keeps its directory. */
  async halt(): Promise<void> {
    await this.server.stop();
  }

  /** Starts a server that was killed or halted again, on the same directory and port. */
  async restart(): Promise<void> {
    this.server = makeServer(this.directory, this.port);
    await this.server.start();
  }

  /** Makes an empty database and returns its URL. */
  async createDatabase(name: string): Promise<string> {
    const session = await Session.open(this.url, 'test');
    await session.client.query(`create database "${name}"`);
    await session.close();
    return this.url.replace(/holdfast$/, name);
  }

  /** Stops the server and removes its directory. */
  async stop(): Promise<void> {
    await this.server.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function makeServer(directory: string, port: number): EmbeddedPostgres {
  return new EmbeddedPostgres({ directory: join(directory, 'postgres'), port, log: silent });
}
