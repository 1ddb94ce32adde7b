"""The emulators are really there, and our own store and Google's clients talk to them."""

from google.cloud import bigquery
from support.cloud.emulators import Emulators

from transforms.stores.choose import store_for
from transforms.stores.paths import join


def test_an_object_of_the_storage_emulator_can_be_loaded_into_a_table(
    cloud: Emulators, dataset: str, bucket_folder: str
) -> None:
    path = join(bucket_folder, "rows.jsonl")
    store_for(path).write(path, b'{"id": "a"}\n{"id": "b"}\n')
    assert store_for(path).read(path) == b'{"id": "a"}\n{"id": "b"}\n'
    with bigquery.Client(project=cloud.project) as client:
        config = bigquery.LoadJobConfig(
            source_format="NEWLINE_DELIMITED_JSON", schema=[bigquery.SchemaField("id", "STRING")]
        )
        client.load_table_from_uri([path], f"{dataset}.rows", job_config=config).result()
        rows = client.query(f"SELECT id FROM `{dataset}.rows` ORDER BY id").result()
        assert [row.id for row in rows] == ["a", "b"]
