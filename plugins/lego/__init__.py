"""LEGO parts and their colours: data, renders, the classifier."""
