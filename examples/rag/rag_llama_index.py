"""Answer a question from a folder of Italian texts, with LlamaIndex: python rag_llama_index.py MODEL [QUESTION]"""

import os
import sys
from pathlib import Path

from llama_index.core import PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

MODEL = sys.argv[1]
QUESTION = sys.argv[2] if len(sys.argv) > 2 else "Quanto costa la molitura delle olive per i soci del frantoio?"
SERVER = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ.get("OPENAI_API_KEY", "none")}

# Without `is_chat_model` the client asks /v1/completions, without a template.
Settings.llm = OpenAILike(model=MODEL, is_chat_model=True, temperature=0, max_tokens=64, context_window=1024, **SERVER)
Settings.embed_model = OpenAILikeEmbedding(model_name=MODEL, **SERVER)

# A paragraph is a passage, and remembers which file it is of; the file's name is no part of what is embedded and shown to the model.
hidden = {"excluded_embed_metadata_keys": ["file"], "excluded_llm_metadata_keys": ["file"]}
passages = [
    TextNode(text=paragraph.strip(), metadata={"file": path.name}, **hidden)
    for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))
    for paragraph in path.read_text(encoding="utf-8").split("\n\n")
]
index = VectorStoreIndex(passages)
prompt = PromptTemplate("Rispondi soltanto con quello che dice il testo.\n\nTesto:\n{context_str}\n\nDomanda: {query_str}")
answer = index.as_query_engine(similarity_top_k=2, text_qa_template=prompt).query(QUESTION)

print(QUESTION)
print(answer)
for found in answer.source_nodes:
    print(f"[{found.metadata['file']}] {found.text}")
