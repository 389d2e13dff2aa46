/** The parts that read and write bytes, against published examples and against each other. */
#include <string>
#include <vector>

#include "../core/backoff.h"
#include "../core/crc32.h"
#include "../core/handshake.h"
#include "../core/json_members.h"
#include "../core/provisioning.h"
#include "../core/sha1.h"
#include "../core/wall_clock.h"
#include "../core/websocket.h"
#include "check.h"

#include <map>

using namespace holdfast;

namespace {

const uint8_t* bytesOf(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

std::string sha1Of(const std::string& text) {
  uint8_t digest[kSha1Bytes];
  CHECK(sha1(bytesOf(text), text.size(), digest));
  std::string hex;
  for (const uint8_t byte : digest) hex += "0123456789abcdef"[byte >> 4], hex += "0123456789abcdef"[byte & 15];
  return hex;
}

std::string base64Of(const std::string& text) {
  std::string encoded(base64Length(text.size()) + 1, ' ');
  encodeBase64(bytesOf(text), text.size(), encoded.data());
  encoded.pop_back();
  return encoded;
}

void checksumsAreThePublishedOnes() {
  CHECK_EQUAL(crc32(0, bytesOf("123456789"), 9), 0xcbf43926u);
  CHECK_EQUAL(crc32(crc32(0, bytesOf("1234"), 4), bytesOf("56789"), 5), 0xcbf43926u);
  CHECK(sha1Of("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(sha1Of("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  CHECK(sha1Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  uint8_t digest[kSha1Bytes];
  CHECK(!sha1(digest, 120, digest));
  CHECK(base64Of("") == "" && base64Of("f") == "Zg==" && base64Of("fo") == "Zm8=" && base64Of("foobar") == "Zm9vYmFy");
}

struct Zeros : Random {
  uint32_t next() override { return 0; }
};

void onlyTheRightAnswerOpensAWebSocket() {
  Zeros zeros;
  Handshake handshake;
  char text[600];
  const EdgeAddress address = {"edge", 7300, "d-1", "t"};
  CHECK(handshake.request(address, zeros, text, sizeof text) == strlen(text));
  CHECK(handshake.request(address, zeros, text, 100) == 0);
  CHECK(handshake.request({"edge", 7300, "d-1", "t\r\nX: y"}, zeros, text, sizeof text) == 0);
  CHECK(handshake.request({"edge", 7300, "../x", "t"}, zeros, text, sizeof text) == 0);
  const std::string accept = "ICX+Yqv66kxgM0FcWaLWlFLwTAI=";
  const std::string head =
      "HTTP/1.1 101 x\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, Upgrade\r\nsec-websocket-protocol: "
      "holdfast.v1.binary\r\n";
  const auto isTaken = [&](const std::string& answer) {
    HttpResponse response;
    HttpResponse::State state = HttpResponse::State::reading;
    for (const char each : answer) state = response.take(static_cast<uint8_t>(each));
    return state == HttpResponse::State::done && response.status() == 101 && handshake.isAnswer(response);
  };
  CHECK(handshake.request(address, zeros, text, sizeof text) > 0);
  CHECK(isTaken(head + "Sec-WebSocket-Accept: " + accept + "\r\n\r\n"));
  CHECK(!isTaken(head + "Sec-WebSocket-Accept: " + accept.substr(1) + "\r\n\r\n"));
  CHECK(
      !isTaken(head + "Sec-WebSocket-Accept: " + accept + "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
  CHECK(!isTaken("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + accept + "\r\n\r\n"));
}

/** A server's frame. */
std::string frame(bool isFinal, uint8_t opcode, const std::string& payload) {
  std::string bytes(1, static_cast<char>((isFinal ? 0x80 : 0) | opcode));
  if (payload.size() < 126) return bytes + static_cast<char>(payload.size()) + payload;
  return bytes + static_cast<char>(126) + static_cast<char>(payload.size() >> 8) + static_cast<char>(payload.size()) +
         payload;
}

/** Everything that comes of a stream of bytes in parts of random sizes. */
std::vector<std::string> readAll(const std::string& stream, Numbers& numbers) {
  uint8_t buffer[300];
  WebSocketReader reader({buffer, sizeof buffer});
  std::vector<std::string> events;
  size_t at = 0;
  while (at < stream.size()) {
    const size_t part = 1 + numbers.below(40);
    const std::string bytes = stream.substr(at, part);
    at += bytes.size();
    for (size_t done = 0; done < bytes.size();) {
      size_t taken = 0;
      const Incoming incoming = reader.take(bytesOf(bytes) + done, bytes.size() - done, taken);
      done += taken;
      if (incoming == Incoming::malformed) {
        events.emplace_back("malformed");
        return events;
      }
      if (incoming == Incoming::nothing) continue;
      const bool hasPayload = incoming != Incoming::tooLarge;
      events.push_back(
          std::to_string(static_cast<int>(incoming)) +
          (hasPayload ? std::string(reinterpret_cast<const char*>(reader.payload()), reader.payloadBytes()) : ""));
    }
  }
  return events;
}

void framesComeOutAsTheyWentInHoweverTheyAreCut(uint64_t seed) {
  Numbers numbers(seed);
  std::string stream;
  std::vector<std::string> wanted;
  for (int i = 0; i < 20; i++) {
    const std::string payload(numbers.below(200), static_cast<char>('a' + i));
    switch (numbers.below(4)) {
      case 0:
        stream += frame(true, 9, payload.substr(0, 125));
        wanted.push_back(std::to_string(static_cast<int>(Incoming::ping)) + payload.substr(0, 125));
        break;
      case 1:
        stream += frame(false, 2, payload) + frame(true, 9, "") + frame(true, 0, "tail");
        wanted.push_back(std::to_string(static_cast<int>(Incoming::ping)));
        wanted.push_back(std::to_string(static_cast<int>(Incoming::message)) + payload + "tail");
        break;
      case 2:
        stream += frame(true, 2, std::string(301 + numbers.below(1000), 'x'));
        wanted.push_back(std::to_string(static_cast<int>(Incoming::tooLarge)));
        break;
      default:
        stream += frame(true, 1, payload);
        wanted.push_back(std::to_string(static_cast<int>(Incoming::message)) + payload);
    }
  }
  CHECK(readAll(stream, numbers) == wanted);
}

void framesThatNoServerMaySendAreMalformed() {
  Numbers numbers(1);
  const std::string bad[] = {std::string("\x82\x81"),
                             std::string("\xc2\x00", 2),
                             std::string("\x83\x00", 2),
                             std::string("\x8b\x00", 2),
                             std::string("\x09\x00", 2),
                             std::string("\x89\x7e\x00\x7e", 4),
                             std::string("\x80\x00", 2),
                             std::string("\x02\x00\x82\x00", 4),
                             std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10)};
  for (const std::string& stream : bad) CHECK(readAll(stream, numbers).back() == "malformed");
}

void membersAreFoundWhereTheyAre() {
  const std::string json =
      " { \"a\" : {\"id\":1, \"x\":[\"}\",2]} , \"q\\\"uote\":\"\\\\\",\"id\" : \"c-1\", \"n\": 1048576 }";
  const Slice id = findMember(json.data(), json.size(), "id");
  CHECK(std::string(id.text, id.size) == "\"c-1\"");
  char text[4];
  CHECK(copyString(id, text, 4) && std::string(text) == "c-1");
  CHECK(!copyString(id, text, 3));
  CHECK_EQUAL(wholeNumber(findMember(json.data(), json.size(), "n"), 0), 1048576u);
  CHECK_EQUAL(findMember(json.data(), json.size(), "x").size, 0u);
  CHECK_EQUAL(findMember("[]", 2, "x").size, 0u);
  CHECK_EQUAL(wholeNumber({"99999999999999999", 17}, 5), 5u);
}

struct MapStore : SettingsStore {
  std::map<std::string, std::string> values;
  bool read(const char* name, char* value, size_t size) override {
    const auto found = values.find(name);
    if (found == values.end() || found->second.size() >= size) return false;
    memcpy(value, found->second.c_str(), found->second.size() + 1);
    return true;
  }
  bool write(const char* name, const char* value) override {
    values[name] = value;
    return true;
  }
  bool erase(const char* name) override {
    values.erase(name);
    return true;
  }
};

struct TextPrinter : Printer {
  std::string text;
  void print(const char* more) override { text += more; }
};

void settingsAreTakenByTheLine() {
  MapStore store;
  TextPrinter printer;
  Provisioning provisioning(store, printer);
  const auto say = [&](const std::string& line) {
    printer.text.clear();
    Request request = Request::none;
    for (const char each : line + "\r\n") {
      const Request asked = provisioning.take(static_cast<uint8_t>(each));
      if (asked != Request::none) request = asked;
    }
    return request;
  };
  say("set wifi.ssid the plant's network");
  CHECK(printer.text == "ok\n" && store.values["wifi.ssid"] == "the plant's network");
  say("set wifi.password correct horse");
  say("set edge.host edge.example");
  say("set edge.port 443");
  say("set device.id press-1");
  say("set device.token abc_DEF-123");
  Settings settings;
  settings.load(store);
  CHECK(std::string(settings.missing()) == "edge.ca");
  say("set edge.ca " + std::string(400, 'A'));
  say("add edge.ca " + std::string(100, 'B'));
  CHECK_EQUAL(store.values["edge.ca"].size(), 500u);
  settings.load(store);
  CHECK(settings.missing() == nullptr && settings.port == 443 && settings.isTls);
  CHECK(std::string(settings.password) == "correct horse" && std::string(settings.token) == "abc_DEF-123");
  say("show");
  CHECK(printer.text.find("correct horse") == std::string::npos && printer.text.find("abc_DEF") == std::string::npos);
  CHECK(printer.text.find("device.token (set)\n") != std::string::npos);
  for (const char* bad :
       {"set edge.port 0", "set edge.port 70000", "set device.id ../x", "set edge.tls maybe", "set wifi.password short",
        "set nothing x", "set", "add edge.ca *", "unset nothing", "erase everything", "set edge.host http://x/"}) {
    const auto before = store.values;
    CHECK(say(bad) == Request::none && printer.text.rfind("error: ", 0) == 0 && store.values == before);
  }
  say("set edge.host " + std::string(600, 'x'));
  CHECK(printer.text.rfind("error: the line", 0) == 0 && store.values["edge.host"] == "edge.example");
  CHECK(say("status") == Request::status && say("restart") == Request::restart && say("format") == Request::format);
  say("unset device.token");
  CHECK(store.values.count("device.token") == 0);
}

void aCertificateIsWrittenAsPem() {
  char pem[200];
  CHECK(writePem(std::string(70, 'A').c_str(), pem, sizeof pem));
  CHECK(std::string(pem) ==
        "-----BEGIN CERTIFICATE-----\n" + std::string(64, 'A') + "\nAAAAAA\n-----END CERTIFICATE-----\n");
  CHECK(!writePem(std::string(200, 'A').c_str(), pem, sizeof pem));
}

void timeGoesOnFromTheLogUntilItIsKnown() {
  WallClock clock;
  clock.start(0, 50);
  CHECK(clock.isEstimated() && clock.now(50) == 1 && clock.now(60) == 11);
  clock.start(1700000000000, 50);
  CHECK(clock.now(1050) == 1700000001000);
  clock.set(1800000000000, 2000);
  CHECK(!clock.isEstimated() && clock.now(2500) == 1800000000500);
}

}  // namespace

int main(int count, char** words) {
  const uint64_t seed = seedOf(count, words);
  checksumsAreThePublishedOnes();
  onlyTheRightAnswerOpensAWebSocket();
  for (uint64_t i = 0; i < 2000; i++) framesComeOutAsTheyWentInHoweverTheyAreCut(seed + i);
  framesThatNoServerMaySendAreMalformed();
  membersAreFoundWhereTheyAre();
  settingsAreTakenByTheLine();
  aCertificateIsWrittenAsPem();
  timeGoesOnFromTheLogUntilItIsKnown();
}
