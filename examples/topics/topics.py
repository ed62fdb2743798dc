"""Topics of Italian web pages, with BERTopic over vectors of the server: python topics.py MODEL [FILE.json.gz]"""

import gzip
import json
import sys
from pathlib import Path

from bertopic import BERTopic
from bertopic.backend import OpenAIBackend
from bertopic.vectorizers import ClassTfidfTransformer
from hdbscan import HDBSCAN
from openai import OpenAI
from sklearn.feature_extraction.text import CountVectorizer
from umap import UMAP

MODEL = sys.argv[1]
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data/samples/clean_mc4_it.json.gz"
STOP_WORDS = (ROOT / "filters/lists/stop-words-it.txt").read_text(encoding="utf-8").split()

with gzip.open(sys.argv[2] if len(sys.argv) > 2 else SAMPLES, "rt", encoding="utf-8") as file:
    texts = [json.loads(line)["text"] for line in file]

# Without a batch size the client sends all texts at once; its default for the last argument is one object that all backends share.
server = OpenAIBackend(OpenAI(), MODEL, batch_size=16, generator_kwargs={})
vectors = server.embed(texts)
# Means of hidden states have much in common, which tells no two texts apart.
vectors = vectors - vectors.mean(axis=0)

# Each step of BERTopic is a part that can be another; the seed of UMAP makes it the same each time.
topics = BERTopic(
    language="italian",
    embedding_model=server,
    umap_model=UMAP(n_neighbors=5, n_components=5, min_dist=0.0, metric="cosine", random_state=42),
    hdbscan_model=HDBSCAN(min_cluster_size=4, cluster_selection_method="leaf"),
    vectorizer_model=CountVectorizer(stop_words=STOP_WORDS, token_pattern=r"(?u)\b[^\W\d_]{4,}\b"),
    ctfidf_model=ClassTfidfTransformer(bm25_weighting=True, reduce_frequent_words=True),
)
of_each, _ = topics.fit_transform(texts, vectors)

print(f"{len(texts)} texts, {len(topics.get_topic_info())} topics (-1: of none)")
for topic, words in sorted(topics.get_topics().items()):
    print(f"{topic:3} {of_each.count(topic):4} texts  {', '.join(word for word, _ in words[:6])}")
