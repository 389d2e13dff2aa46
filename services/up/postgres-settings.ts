/** What the PostgreSQL of `holdfast up` is started with, where that is not PostgreSQL's default. */
export const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // No socket file: its directory would have to exist and be writable, and its path has a length limit.
  unix_socket_directories: '',
  // The promise rests on these three, so they do not depend on a default.
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // Ingest writes WAL at tens of MB/s: with the default of 1 GB checkpoints follow each other and every page's first
  // change after each is logged whole. The price is disk (2 GB) and a longer recovery (seconds).
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // What a COPY writes goes to the disk at once: otherwise the kernel keeps it for half a minute and then writes a GB in a second,
  // and every fdatasync of the edge waits behind that.
  backend_flush_after: '1MB',
  // The index pages under ingest stay in memory.
  shared_buffers: '256MB',
  wal_buffers: '16MB',
  max_connections: '50',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '',
};
