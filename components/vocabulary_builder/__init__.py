"""VocabularyBuilder: which codes the model will keep."""
