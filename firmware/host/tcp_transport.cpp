#include "tcp_transport.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast {

namespace {

constexpr int kConnectTimeoutMs = 10000;

bool isConnected(int socket) {
  pollfd waiting = {socket, POLLOUT, 0};
  if (poll(&waiting, 1, kConnectTimeoutMs) != 1) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

int connectTo(const addrinfo& address) {
  const int made = socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (made < 0) return -1;
  const int one = 1;
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const bool begun = connect(made, address.ai_addr, address.ai_addrlen) == 0 || errno == EINPROGRESS;
  if (begun && isConnected(made)) return made;
  close(made);
  return -1;
}

}  // namespace

bool TcpTransport::connect(const char* host, uint16_t port) {
  close();
  char service[8];
  snprintf(service, sizeof service, "%u", static_cast<unsigned>(port));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host, service, &hints, &found) != 0) return false;
  for (const addrinfo* at = found; at != nullptr && socket_ < 0; at = at->ai_next) socket_ = connectTo(*at);
  freeaddrinfo(found);
  return socket_ >= 0;
}

int32_t TcpTransport::read(uint8_t* data, size_t size) {
  const ssize_t got = recv(socket_, data, size, 0);
  if (got > 0) return static_cast<int32_t>(got);
  return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

int32_t TcpTransport::write(const uint8_t* data, size_t size) {
  const ssize_t taken = send(socket_, data, size, MSG_NOSIGNAL);
  if (taken >= 0) return static_cast<int32_t>(taken);
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

void TcpTransport::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

}  // namespace holdfast
