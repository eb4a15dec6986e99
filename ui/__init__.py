"""The browser front end: Streamlit behind our own gate, talking to the server over HTTP and to nothing else."""
