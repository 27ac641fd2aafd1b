import Core
print("t2v-worker")
