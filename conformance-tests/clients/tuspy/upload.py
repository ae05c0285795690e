"""One upload by tuspy, as a process of its own:

    python upload.py '{"endpoint": "http://…", "file": "…", …}'

`urls` names the file of its URL storage, from which it goes on if the upload is known there; `asynchronous`
takes the uploader for asyncio; `stop_at` is the number of bytes after which it stops. Everything else goes to
the uploader as it is. The last line tells the URL and the offset, or the error (exit code 1).
"""

import asyncio
import json
import sys

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage


def main():
    options = json.loads(sys.argv[1])
    client = TusClient(options.pop("endpoint"))
    stop_at = options.pop("stop_at", None)
    make = client.async_uploader if options.pop("asynchronous", False) else client.uploader
    urls = options.pop("urls", None)
    if urls:
        options.update(store_url=True, url_storage=FileStorage(urls))
    uploader = make(options.pop("file"), **options)
    running = uploader.upload(stop_at=stop_at)
    if running is not None:
        asyncio.run(running)
    print(json.dumps({"url": uploader.url, "offset": uploader.offset}))


try:
    main()
except TusCommunicationError as error:
    print(json.dumps({"error": str(error), "status": error.status_code}))
    sys.exit(1)
