"""The HTTP service: requests become store calls, records become responses. It never imports torch."""

import os

# Requests run in threads of their own. numpy's default, a thread for each core and product, makes small products up to
# fifty times slower on a busy machine. It is read when numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
