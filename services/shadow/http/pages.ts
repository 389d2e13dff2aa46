/** What everybody may read: a few lines at `/` that say what this is, and the OpenAPI document. */
import type { Answer } from './answers.js';
import { OPENAPI } from './openapi.js';

export const ABOUT = `Holdfast shadow: what devices say they are, and what they are to be. The API is described in /openapi.json.

  curl -s localhost:7320/things
  curl -s localhost:7320/things/engine-1/shadow
  curl -s localhost:7320/things/engine-1/shadow -H 'Content-Type: application/json' -d '{"state":{"desired":{"throttle":60}}}'
  curl -s localhost:7320/things/engine-1/commands -H 'Content-Type: application/json' -d '{"name":"reboot"}'

Where SHADOW_API_TOKEN is set: -H "Authorization: Bearer $SHADOW_API_TOKEN".
`;

export const PAGES: ReadonlyMap<string, Answer> = new Map([
  ['/', { status: 200, headers: [['Content-Type', 'text/plain; charset=utf-8']], body: Buffer.from(ABOUT) }],
  [
    '/openapi.json',
    {
      status: 200,
      headers: [['Content-Type', 'application/json']],
      body: Buffer.from(`${JSON.stringify(OPENAPI, null, 2)}\n`),
    },
  ],
]);
