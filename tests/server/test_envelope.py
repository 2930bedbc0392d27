"""Every error is the same envelope, whoever raises it."""

import httpx


async def test_an_unknown_route_is_answered_in_the_envelope_and_with_a_request_id(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "Resource not found"}}
    assert answer.headers["x-request-id"]


async def test_a_request_id_that_the_client_gives_is_kept(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/nothing", headers={"X-Request-ID": "order-7"})
    assert answer.headers["x-request-id"] == "order-7"
