"""Raw HTTP to a labelling server: sends exactly what a test says."""

import http.client
import json


class RawClient:
    """One annotator without a browser."""

    def __init__(self, server):
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.cookie = None

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        sent = {"Host": self.host} | ({"Cookie": self.cookie} if self.cookie else {}) | headers
        data = None if body is None else json.dumps(body).encode()
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        answer = connection.getresponse()
        answer.text = answer.read()
        connection.close()
        return answer

    def post(self, path, body, **headers):
        usual = {"Content_Type": "application/json", "Origin": f"http://{self.host}"}
        return self.ask("POST", path, {"annotator": "ann"} | body, **(usual | headers))

    def enter(self, link):
        answer = self.ask("GET", link[len(self.server.base) :])
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return answer
