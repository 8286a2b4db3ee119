"""The same job in each framework, used as its documentation tells a plain user.

For every record: validate it with a pydantic model, score it by a function under the framework's own retry, and store
one durable outcome. Each module has ``run(records, directory) -> int``, which gives the outcomes that are stored.
"""
