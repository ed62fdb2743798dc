"""Answer a question from a folder of Italian texts, with LangChain: python rag_langchain.py MODEL [QUESTION]"""

import sys
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

MODEL = sys.argv[1]
QUESTION = sys.argv[2] if len(sys.argv) > 2 else "Quanto costa la molitura delle olive per i soci del frantoio?"

# A paragraph is a passage, and remembers which file it is of.
passages = [
    Document(paragraph.strip(), metadata={"file": path.name})
    for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))
    for paragraph in path.read_text(encoding="utf-8").split("\n\n")
]
# Without the last setting the client sends token ids of OpenAI's vocabulary, which the server refuses.
embeddings = OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False)
store = InMemoryVectorStore.from_documents(passages, embeddings)
found = store.similarity_search(QUESTION, k=2)

prompt = ChatPromptTemplate.from_messages(
    [("system", "Rispondi soltanto con quello che dice il testo."), ("human", "Testo:\n{text}\n\nDomanda: {question}")]
)
chat = ChatOpenAI(model=MODEL, temperature=0, max_tokens=64)
answer = (prompt | chat).invoke({"text": "\n\n".join(doc.page_content for doc in found), "question": QUESTION})

print(QUESTION)
print(answer.content)
for doc in found:
    print(f"[{doc.metadata['file']}] {doc.page_content}")
