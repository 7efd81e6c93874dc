import msgspec
import pytest

from chronos_common.models import ApiKeyAuth, BasicAuth, BearerAuth, HttpTarget
from chronos_worker.dispatch.redirects import ForbiddenRedirect, next_hop
from chronos_worker.dispatch.registry import prepare_encoded
from chronos_worker.dispatch.request import MASK, InvalidTarget, prepare, request_for, rfc3339, shown
from tests.dispatch.making import assignment


def request(url="http://example.com/hook", **fields):
    made = assignment(url, **fields)
    return request_for(prepare_encoded(bytes(made.target)), made)


def headers(made):
    lines = [line.decode() for line in made.identity + made.lines]
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_every_request_carries_what_identifies_it():
    sent = headers(request(number=9, attempt=2, term=7))
    assert sent["X-Chronos-Job-ID"] == "job-1"
    assert sent["X-Chronos-Execution-ID"] == "00000000-0000-0000-0000-000000000009"
    assert sent["Idempotency-Key"] == sent["X-Chronos-Execution-ID"]
    assert sent["X-Chronos-Scheduled-Time"] == "2023-11-14T22:13:20Z"
    assert (sent["X-Chronos-Attempt"], sent["X-Chronos-Term"]) == ("2", "7")
    assert sent["User-Agent"].startswith("Chronos/")


def test_a_scheduled_time_shows_milliseconds_only_when_it_has_any():
    assert rfc3339(1_700_000_000_042) == "2023-11-14T22:13:20.042Z"


@pytest.mark.parametrize(
    "name",
    [
        "X-Chronos-Job-ID",
        "x-chronos-any",
        "Idempotency-Key",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
    ],
)
def test_a_user_cannot_set_headers_that_are_ours_to_write(name):
    sent = request(headers={name: "mine", "X-Mine": "1"})
    assert not [line for line in sent.lines if b"mine" in line]
    assert b"X-Mine: 1" in sent.lines


def test_a_user_may_set_the_user_agent():
    assert headers(request(headers={"user-agent": "me"}))["user-agent"] == "me"


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        (BasicAuth("us", "p:ü"), b"Authorization: Basic dXM6cDrDvA=="),
        (BearerAuth("tok"), b"Authorization: Bearer tok"),
        (ApiKeyAuth("k"), b"X-API-Key: k"),
        (ApiKeyAuth("k", "X-Other"), b"X-Other: k"),
    ],
)
def test_credentials_become_headers(auth, line):
    assert line in request(auth=auth).lines


def test_the_auth_block_wins_over_a_header_of_the_same_name():
    sent = request(auth=BearerAuth("tok"), headers={"authorization": "other"})
    assert [line for line in sent.lines if line.lower().startswith(b"authorization")] == [
        b"Authorization: Bearer tok"
    ]


def test_credentials_in_the_url_become_a_header_and_leave_the_url():
    sent = request("http://us:p%40ss@example.com/x")
    assert sent.url == "http://example.com/x"
    assert b"Authorization: Basic dXM6cEBzcw==" in sent.lines


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ("text as it is", b"text as it is", "text/plain; charset=utf-8"),
        ({"a": [1, None]}, b'{"a":[1,null]}', "application/json"),
        ([], b"[]", "application/json"), (0, b"0", "application/json"), (False, b"false", "application/json"),
        ("", b"", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_text_goes_as_it_is_and_anything_else_as_json(body, sent, content_type):
    made = request(method="POST", body=body)
    assert made.body == sent
    assert headers(made)["Content-Type"] == content_type


def test_a_content_type_of_the_users_own_is_kept():
    made = request(method="POST", body={"a": 1}, headers={"content-type": "application/x-mine"})
    assert [line for line in made.lines if line.lower().startswith(b"content-type")] == [
        b"content-type: application/x-mine"
    ]


def test_a_payload_replaces_the_body_and_its_content_type():
    made = request(method="POST", body="text", payload={"a": 1}, has_payload=True)
    assert made.body == b'{"a":1}'
    assert [line for line in made.lines if line.startswith(b"Content-Type")] == [b"Content-Type: application/json"]


def test_a_payload_of_none_sends_no_body():
    assert request(method="POST", body="text", payload=None, has_payload=True).body is None


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"url": "ftp://example.com/"}, "ftp"), ({"url": "file:///etc/passwd"}, "file"),
        ({"url": "http:///path"}, "host"), ({"url": "http://example.com:99999/"}, "port"),
        ({"url": "http://example.com/a b"}, "spaces"), ({"url": "http://example.com/\r\nX: y"}, "control"),
        ({"url": "http://[::1/"}, "url"), ({"url": "http://example.com/", "method": "GET\r\n"}, "method"),
        ({"url": "http://example.com/", "method": "CONNECT"}, "CONNECT"),
        ({"url": "http://example.com/", "headers": {"X-A": "b\r\nX-Evil: c"}}, "X-A"),
        ({"url": "http://example.com/", "headers": {"X A": "b"}}, "X A"),
        ({"url": "http://example.com/", "auth": BearerAuth("a\r\nb")}, "Authorization"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_sent_is_refused_by_name(target, named):
    with pytest.raises(InvalidTarget, match=named):
        prepare(HttpTarget(**target))


def test_an_unknown_kind_of_target_is_refused_by_name():
    with pytest.raises(InvalidTarget, match="'pigeon'"):
        prepare_encoded(msgspec.msgpack.encode({"type": "pigeon"}))


def test_a_url_beyond_ascii_is_encoded():
    assert prepare(HttpTarget(url="http://bücher.example/ä?q=ö#part")).url == (
        "http://xn--bcher-kva.example/%C3%A4?q=%C3%B6"
    )


def test_a_url_already_encoded_is_left_alone():
    url = "https://example.com:8443/a%20b/?q=%C3%B6&r=a+b"
    assert prepare(HttpTarget(url=url)).url == url


def test_an_empty_header_is_sent_empty():
    assert b"X-Empty;" in request(headers={"X-Empty": ""}).lines


def test_what_is_shown_masks_credentials_and_bounds_the_body():
    view = shown(request(method="POST", body="x" * 9_000, auth=ApiKeyAuth("s3cret", "X-Door"),
                         headers={"X-Api-Token": "s3cret", "Accept": "a/b"}))  # fmt: skip
    assert view.headers["X-Door"] == view.headers["X-Api-Token"] == MASK
    assert view.headers["Accept"] == "a/b"
    assert view.headers["Idempotency-Key"] != MASK
    assert len(view.body) == 4_096


SECRETS = {"headers": {"X-Secret": "s", "Cookie": "c", "Accept": "a/b"}, "auth": BearerAuth("tok")}


def test_a_redirect_to_the_same_origin_keeps_everything():
    sent = request(**SECRETS)
    assert next_hop(sent, 302, "http://example.com/other").lines == sent.lines


@pytest.mark.parametrize("url", ["http://other.com/", "http://example.com:8080/", "http://sub.example.com/"])
def test_a_redirect_to_another_origin_takes_only_harmless_headers_along(url):
    hop = next_hop(request(**SECRETS), 302, url)
    assert [line for line in hop.lines if b"X-Secret" in line or b"Cookie" in line or b"Author" in line] == []
    assert b"Accept: a/b" in hop.lines
    assert headers(hop)["X-Chronos-Job-ID"] == "job-1"


def test_an_upgrade_to_https_on_the_same_host_keeps_credentials():
    assert b"X-Secret: s" in next_hop(request(**SECRETS), 301, "https://example.com/hook").lines


def test_a_downgrade_to_http_does_not():
    sent = request("https://example.com/", **SECRETS)
    assert b"X-Secret: s" not in next_hop(sent, 301, "http://example.com/").lines


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"),
     (301, "PUT", "PUT"), (307, "POST", "POST"), (308, "DELETE", "DELETE")],
)  # fmt: skip
def test_methods_change_on_redirects_as_in_browsers(status, method, then):
    hop = next_hop(request(method=method, body={"a": 1}), status, "http://example.com/x")
    assert hop.method == then
    assert (hop.body is None) == (then == "GET")
    assert (b"Content-Type: application/json" in hop.lines) == (then != "GET")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "gopher://x/", "http://x:0/",
                                 "http://example.com/" + "a" * 9_000])  # fmt: skip
def test_a_redirect_out_of_http_is_refused(url):
    with pytest.raises(ForbiddenRedirect):
        next_hop(request(), 302, url)
